package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"distlab/containers/internal/httpcases"
)

// send writes raw bytes inside TLS and returns all that comes back.
func (s *sidecar) send(t *testing.T, text string) string {
	t.Helper()
	conn := s.dial(t, tlsConfig("http/1.1"))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return readAll(conn)
}

// impatient makes the end of the answers come by itself. To half-close would
// not do: an HTTP client that does is taken to be gone.
func impatient(p *Proxy) { p.Limits.Idle, p.Limits.Header = 100*time.Millisecond, patience/2 }

func statusesOf(answers string) string {
	var list []string
	for line := range strings.Lines(answers) {
		// A body does not end its line: the next status may follow "ok".
		if _, after, ok := strings.Cut(line, "HTTP/1."); ok {
			list = append(list, after[2:5])
		}
	}
	return strings.Join(list, " ")
}

// TestRequests holds both paths, and HTTP/2, to the table of all containers.
func TestRequests(t *testing.T) {
	for _, careful := range []bool{false, true} {
		t.Run(fmt.Sprintf("careful %v", careful), func(t *testing.T) {
			t.Parallel()
			app := must(httpcases.NewApp())
			defer app.Close()
			s := start(t, app.Addr, func(p *Proxy) { p.Careful, p.Limits.HeaderBytes = careful, 32<<10 })
			speaks := func(protocol string) func() (net.Conn, error) {
				return func() (net.Conn, error) { return s.tryDial(tlsConfig(protocol)) }
			}
			for _, c := range httpcases.Requests {
				for _, complaint := range c.Run(app, speaks("http/1.1")) {
					t.Errorf("%s (%s): %s", c.Name, c.Why, complaint)
				}
			}
			for _, c := range httpcases.Requests2 {
				for _, complaint := range c.Run(app, speaks("h2")) {
					t.Errorf("HTTP/2, %s (%s): %s", c.Name, c.Why, complaint)
				}
			}
			if n := s.metric(t, "requests_refused_total", "reason=framing"); n < 100 {
				t.Errorf("counted %v refusals", n)
			}
		})
	}
}

// TestRefusalArrives: a client that goes on sending hears why it was refused,
// and not a reset.
func TestRefusalArrives(t *testing.T) {
	app := startWireApp(t)
	s := start(t, app.addr, nil)
	for range 5 {
		got := s.send(t, "POST / HTTP/1.1\r\nContent-Length : 9\r\n\r\n"+strings.Repeat("a", 512<<10))
		if statusesOf(got) != "400" {
			t.Errorf("answered %q, want 400", got)
		}
	}
}

// h2Conn speaks HTTP/2 frame by frame, so that nothing tidies it up.
type h2Conn struct {
	*http2.Framer
	conn net.Conn
	out  bytes.Buffer
	enc  *hpack.Encoder
}

func (s *sidecar) h2(t *testing.T) *h2Conn {
	t.Helper()
	conn := s.dial(t, tlsConfig("h2"))
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Fatalf("negotiated %q", p)
	}
	io.WriteString(conn, http2.ClientPreface)
	c := &h2Conn{Framer: http2.NewFramer(conn, conn), conn: conn}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.out)
	check(t, c.WriteSettings())
	return c
}

// ask sends one request on stream 1 and returns its status, or the name of the
// error that ends the stream or the connection.
func (c *h2Conn) ask(fields [][2]string, body string) string {
	c.out.Reset()
	for _, f := range fields {
		c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.out.Bytes(), EndStream: body == "", EndHeaders: true})
	if body != "" {
		c.WriteData(1, true, []byte(body))
	}
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return f.ErrCode.String()
		case *http2.GoAwayFrame:
			return f.ErrCode.String()
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.WriteSettingsAck()
			}
		}
	}
}
