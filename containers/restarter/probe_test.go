package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
		case "/moved":
			http.Redirect(w, r, "/down", http.StatusFound)
		case "/down":
			http.Error(w, "down\nage:  3 s\n"+strings.Repeat("x", 1000), http.StatusServiceUnavailable)
		case "/missing":
			http.NotFound(w, r)
		case "/slow":
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer secure.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	ln.Close()
	for _, tt := range []struct {
		url     string
		timeout time.Duration
		silence bool
		want    Outcome
		reason  string
	}{
		{srv.URL + "/ok", time.Minute, false, Success, ""},
		{srv.URL + "/moved", time.Minute, false, Success, ""},
		{secure.URL, time.Minute, false, Success, ""},
		{srv.URL + "/down", time.Minute, false, Failure, "503 Service Unavailable: down age: 3 s xxx"},
		{srv.URL + "/missing", time.Minute, false, Failure, "404 Not Found: 404 page not found"},
		{srv.URL + "/slow", 50 * time.Millisecond, false, Unknown, "no answer within 50ms"},
		{srv.URL + "/slow", 50 * time.Millisecond, true, Failure, "no answer within 50ms"},
		{nobody, time.Minute, false, Unknown, "refused"},
		{nobody, time.Minute, true, Failure, "refused"},
	} {
		got, reason := (&Probe{URL: tt.url, Timeout: tt.timeout, Silence: tt.silence}).Ask(t.Context())
		if got != tt.want || !strings.Contains(reason, tt.reason) || tt.reason == "" && reason != "" || len(reason) > 2*reasonLimit {
			t.Errorf("%s, silence a failure %t: %s %q, want %s %q", tt.url, tt.silence, got, reason, tt.want, tt.reason)
		}
	}
}

func TestSettings(t *testing.T) {
	for text, ok := range map[string]bool{
		"http://127.0.0.1:9200/livez": true, "https://[::1]/x?y": true, "127.0.0.1:9200": false, "ftp://x/": false, "http://": false, "/livez": false,
	} {
		var u probeURL
		if err := u.UnmarshalText([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, ok := range map[string]bool{"SIGTERM": true, "SIGQUIT": true, "TERM": false, "15": false, "SIGSTOP": false} {
		var s stopSignal
		if err := s.UnmarshalText([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
