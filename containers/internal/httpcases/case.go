package httpcases

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Case is something that a client does with a connection, by HTTP/1.1, and what
// must come of it.
type Case struct {
	Name string
	Why  string // who says so: a section of an RFC, or a program
	Text string // what the client sends
	Rest string // what it sends when it has got its answers
	App  Script

	Want  string   // the statuses that it gets, in order: "200 400"
	Cut   bool     // but the last one breaks off, if it has come at all, and the connection with it
	Close bool     // then the connection ends; else it answers another request
	Says  bool     // the last answer says Connection: close
	Seen  int      // how many requests the app gets, whole; -1: that is luck
	Asked string   // what one of them has
	Never []string // what none has
	Heard []string // what the client's answers have, as "Name: value", body or trailer
	Deaf  []string // what they have not
	NoH2C bool     // not where HTTP/2 is understood as well
}

const probe = "GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"

// Run does it, on a connection of its own, and returns what is wrong.
func (c *Case) Run(app *App, dial func() (net.Conn, error)) (complaints []string) {
	complain := func(format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf(format, args...))
	}
	app.Reset(c.App)
	conn, err := dial()
	if err != nil {
		return []string{err.Error()}
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(Patience))
	go func() { // both may be long
		io.WriteString(conn, c.Text)
	}()
	r := bufio.NewReader(conn)
	want := strings.Fields(c.Want)
	heard, closes := hear(r, c.Text, len(want))
	if c.Cut {
		c.Close = true
		if len(heard) == 0 || strings.HasSuffix(heard[len(heard)-1], "<cut>") {
			return complaints
		}
		complain("what was cut looks whole: %.300q", heard)
	}
	if got := statuses(heard); got != c.Want {
		complain("answered %q, want %q: %.300q", got, c.Want, strings.Join(heard, ""))
		return complaints
	}
	if c.Says && !closes {
		complain("the answer does not say that the connection ends: %.300q", heard)
	}
	io.WriteString(conn, c.Rest)
	io.WriteString(conn, probe)
	more, _ := hear(r, probe, 1)
	switch got := statuses(more); {
	case c.Close && got != "":
		complain("the connection goes on: %.200q", more)
	case c.Close && !ended(r):
		complain("the connection does not end")
	case !c.Close && got != "200":
		complain("the connection does not go on: %.200q", more)
	}
	c.check(app.Seen(), strings.Join(heard, ""), complain)
	return complaints
}

func (c *Case) check(all []string, heard string, complain func(string, ...any)) {
	var seen []string
	for _, text := range all {
		if !strings.HasPrefix(text, "GET /probe ") {
			seen = append(seen, text)
		}
	}
	if n := len(all) - len(seen); c.Close && n > 0 {
		complain("the app was probed")
	}
	if c.Seen >= 0 && len(seen) != c.Seen {
		complain("the app saw %d requests, want %d: %.500q", len(seen), c.Seen, seen)
	}
	text := strings.Join(seen, "")
	if !strings.Contains(text, c.Asked) {
		complain("the app saw %.800q, want %q in it", text, c.Asked)
	}
	for _, never := range append(c.Never, "/hidden") {
		if strings.Contains(strings.ToLower(text), strings.ToLower(never)) && !strings.Contains(c.Asked, never) {
			complain("the app saw %q: %.800q", never, text)
		}
	}
	for _, want := range c.Heard {
		if !strings.Contains(strings.ToLower(heard), strings.ToLower(want)) {
			complain("the client heard %.800q, want %q in it", heard, want)
		}
	}
	for _, never := range c.Deaf {
		if strings.Contains(strings.ToLower(heard), strings.ToLower(never)) {
			complain("the client heard %q: %.800q", never, heard)
		}
	}
}

// hear reads n answers, informational ones among them: each as its head, its
// body and its trailers, without the chunks.
func hear(r *bufio.Reader, text string, n int) (list []string, closes bool) {
	method, _, _ := strings.Cut(strings.TrimLeft(text, "\r\n"), " ")
	for len(list) < n {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return list, true
		}
		var b strings.Builder
		fmt.Fprintf(&b, "HTTP %d\r\n", resp.StatusCode)
		resp.Header.Write(&b)
		b.WriteString("\r\n")
		body, err := io.ReadAll(resp.Body)
		b.Write(body)
		if err != nil {
			b.WriteString("<cut>")
		}
		resp.Trailer.Write(&b)
		list = append(list, b.String())
		if resp.StatusCode >= 200 {
			method = ""
		}
		closes = resp.Close
	}
	return list, closes
}

func statuses(heard []string) string {
	list := make([]string, len(heard))
	for i, text := range heard {
		list[i] = text[len("HTTP ") : len("HTTP ")+3]
	}
	return strings.Join(list, " ")
}

// ended is whether the connection comes to its end, orderly or not.
func ended(r *bufio.Reader) bool {
	_, err := io.Copy(io.Discard, r)
	network, ok := err.(net.Error)
	return !ok || !network.Timeout()
}
