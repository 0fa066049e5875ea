package cache

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"
)

// trouble is what the service is told to do: containers/dictionary/README.md.
type trouble struct {
	Status int               `json:"status,omitempty"`
	Delay  string            `json:"delay,omitempty"`
	Path   string            `json:"path,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	For    string            `json:"for"`
}

// tag is on all that a claim has stored, so that it can be forgotten after it.
const tag = "claim"

// tell tells all copies. What a claim leaves of it ends by itself.
func tell(m *check.M, t trouble) {
	header := map[string]string{"Cache-Tag": tag}
	for name, value := range t.Header {
		header[name] = value
	}
	t.Header, t.For = header, "5m"
	body := check.Got(json.Marshal(t))
	for _, c := range copies {
		check.Must(m.Do(http.MethodPut, c, adminPort, "/trouble", body).Is(http.StatusOK))
	}
}

// begin has the lab as it was before the claims, and gives what ends them.
func begin(m *check.M) (end func()) {
	clean := func() {
		for _, c := range copies {
			check.Must(m.Do(http.MethodDelete, c, adminPort, "/trouble", nil).Is(http.StatusOK))
		}
		for _, c := range caches {
			forget(m, c, "/", "Cache-Tag", tag)
		}
	}
	clean()
	return clean
}

// forget purges a target of a cache, or a tag.
func forget(m *check.M, cache, target string, headers ...string) check.Page {
	return m.Do("PURGE", cache, webPort, target, nil, append([]string{"Authorization", bearer}, headers...)...)
}

// fetched is how many words and lists the service has been asked for, whatever it answered.
func fetched(m *check.M) (n int) {
	for _, c := range copies {
		p := m.Get(c, adminPort, "/metrics")
		check.Must(p.Is(http.StatusOK))
		for _, line := range asked.FindAllSubmatch(p.Body, -1) {
			n += int(check.Got(strconv.ParseFloat(string(line[1]), 64)))
		}
	}
	return n
}

// asked are the lines of the copies' metrics that count words and lists.
var asked = regexp.MustCompile(`(?m)^dictionary_requests_total\{[^}]*page="(?:word|prefix)"[^}]*\} (\S+)$`)

// keep is a Cache-Control that says for how long.
func keep(more string) map[string]string {
	return map[string]string{"Cache-Control": "public, " + more}
}

// vocabulary is words that the service knows.
func vocabulary(m *check.M, n int) []string {
	var words []string
	for _, prefix := range []string{"c", "s", "p"} {
		p := m.Get(first, webPort, "/?limit=1000&prefix="+prefix)
		check.Must(p.Is(http.StatusOK))
		var list struct{ Words []string }
		check.Must(json.Unmarshal(p.Body, &list))
		words = append(words, list.Words...)
	}
	m.Need(len(words) >= n, "the service knows %d words only", len(words))
	m.Rand().Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	return words[:n]
}

// fresh is a target that nobody has asked for before, and the path of it.
func fresh(m *check.M, word string) (target, path string) {
	return "/" + word + "?of=" + m.Fresh(), "/" + word
}

// age is an answer's, by its own account; -1: it says none.
func age(p check.Page) int {
	n, err := strconv.Atoi(p.Header.Get("Age"))
	if err != nil {
		return -1
	}
	return n
}

// past waits for a time that must go by.
func past(m *check.M, since time.Time, d time.Duration) {
	m.Await(patience, fmt.Sprintf("%v to go by", d), func(*check.M) error {
		if left := d - time.Since(since); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
}

// user is a client at the door, that keeps its connections. Nobody trusts the door's certificate but it.
type user struct {
	http *http.Client
	url  string
}

func newUser(m *check.M, http2 bool) *user {
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		MaxIdleConnsPerHost: 128, DisableCompression: true, ForceAttemptHTTP2: http2,
	}
	return &user{&http.Client{Transport: t, Timeout: 20 * time.Second}, "https://" + m.Address(door, doorPort)}
}

// get asks at the door.
func (u *user) get(m *check.M, target string, headers ...string) (p check.Page, err error) {
	req, err := http.NewRequestWithContext(m.Context(), http.MethodGet, u.url+target, nil)
	if err != nil {
		return p, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	began := time.Now()
	resp, err := u.http.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return check.Page{Status: resp.StatusCode, Header: resp.Header, Body: body, Took: time.Since(began)}, err
}

func (u *user) close() { u.http.CloseIdleConnections() }

// form says whether a page has the form that was asked for.
func form(p check.Page, accept string) bool {
	return p.Status == http.StatusOK && strings.HasPrefix(p.Header.Get("Content-Type"), accept) && len(p.Body) > 0 &&
		(p.Body[0] == '{') == (accept == "application/json")
}
