package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// The token reaches no arm, and nothing else is missing there.
func TestOverrideStrips(t *testing.T) {
	seen := make(chan string, 1)
	a := startArm(t, "a", func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.URL.RawQuery + " | " + r.Header.Get("Cookie") + " | " + r.Header.Get("X-Arm")
	})
	s := start(t, []ArmSpec{a.spec("")}, func(p *Proxy) {
		p.Splitter.Rules.Override = Override{Header: "X-Arm", Cookie: "arm", Query: "arm", Token: "t"}
	})
	c := client(t)
	for _, tt := range []struct{ query, cookie, want string }{
		{"", "", " |  | "},
		{"a=b&arm=a:t&c=%zz;", "x=y; arm=a:t; z", "a=b&c=%zz; | x=y; z | "},
		{"ARM=a:t", "arm=a:t", " |  | "},
		{"army=1&a", "arms=2", "army=1&a | arms=2 | "},
	} {
		path := "/"
		if tt.query != "" {
			path += "?" + tt.query
		}
		s.do(t, c, "GET", path, "", "Cookie", tt.cookie, "X-Arm", "a:t")
		if got := <-seen; got != tt.want {
			t.Errorf("%s, %s: the arm saw %q, want %q", tt.query, tt.cookie, got, tt.want)
		}
	}
}

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestRequestLog(t *testing.T) {
	a := startArm(t, "a", nil)
	var out lockedBuffer
	s := start(t, []ArmSpec{a.spec("weight=1"), armSpec("b=http://" + nobody(t) + " weight=2")}, func(p *Proxy) {
		p.Requests = NewRequestLog(&out)
	})
	s.do(t, client(t), "GET", "/x?secret=1", "")
	eventually(t, "a line", func() bool { return strings.HasSuffix(out.String(), "\n") })
	var line map[string]any
	check(t, json.Unmarshal([]byte(out.String()), &line))
	for name, want := range map[string]any{
		"client": "127.0.0.1", "method": "GET", "path": "/x", "code": 200.0, "arm": "a", "reason": "retry", "wanted": "b", "msg": "request",
	} {
		if line[name] != want {
			t.Errorf("%s: %v, want %v", name, line[name], want)
		}
	}
	if strings.Contains(out.String(), "secret") {
		t.Error("the query is in the log")
	}
}
