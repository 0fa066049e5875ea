package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/httpcases"
)

// tolerated are the rows in which net/http, by itself, reads a hidden request as one of
// its own: it delimits the first one in a way that RFC 9112 allows a server, and two
// servers in a row could disagree. So the app stands behind a proxy that refuses them.
var tolerated = map[string]bool{
	"CL.TE": true, "TE.CL": true, "CL.TE in odd spelling": true, "CL.TE with others between": true, "CL 0 and TE": true, // chunked counts
	"folded value of TE": true, "folded with a tab": true, // it unfolds
	"bare LF before TE": true, "bare line feeds": true, "chunks: bare line feed at the end": true, // it ends a line
}

// TestRequests sends the app, without anything in front, what the table of the proxies
// has. What is left of a body is never a request.
func TestRequests(t *testing.T) {
	s := open(t)
	var hidden atomic.Int64
	handler := s.srv.Handler
	s.srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/hidden") {
			hidden.Add(1)
		}
		handler.ServeHTTP(w, r)
	})
	for _, c := range httpcases.Requests {
		before := hidden.Load()
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		go func() {
			io.WriteString(conn, c.Text+c.Rest)
			conn.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(io.Discard, conn)
		conn.Close()
		if got := hidden.Load() > before; got != tolerated[c.Name] && c.Name != "a request behind a refused upgrade" {
			t.Errorf("%s (%s): a hidden request was served: %v", c.Name, c.Why, got)
		}
	}
}
