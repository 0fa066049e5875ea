package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"distlab/containers/internal/procs"
)

// TestTellSignal: who is told, and who had better not be.
func TestTellSignal(t *testing.T) {
	one, two := []procs.Process{{PID: 7, Name: "app"}}, []procs.Process{{PID: 7, Name: "app"}, {PID: 8, Name: "app"}}
	for _, tt := range []struct {
		name   string
		people *people
		all    bool
		signal syscall.Signal
		told   string
		err    string
	}{
		{"one", &people{list: one, age: time.Hour}, false, syscall.SIGHUP, "[7]", ""},
		{"nobody", &people{}, false, syscall.SIGHUP, "[]", "not there"},
		{"two", &people{list: two, age: time.Hour}, false, syscall.SIGHUP, "[]", "2 processes might be the app: app (pid 7), app (pid 8)"},
		{"two, as asked", &people{list: two, age: time.Hour}, true, syscall.SIGHUP, "[7 8]", ""},
		{"deaf", &people{list: one, age: time.Hour, deaf: true}, false, syscall.SIGHUP, "[]", "app (pid 7) does not heed SIGHUP, which would end it"},
		{"two, deaf", &people{list: two, age: time.Hour, deaf: true}, true, syscall.SIGHUP, "[]", "does not heed"},
		{"young", &people{list: one, age: 999 * time.Millisecond}, false, syscall.SIGHUP, "[]", "has just started"},
		{"deaf and young, and to end", &people{list: one, deaf: true}, false, syscall.SIGTERM, "[7]", ""},
		{"to be killed", &people{list: one, deaf: true}, false, syscall.SIGKILL, "[7]", ""},
		{"process 1", &people{err: procs.ErrFirst}, false, syscall.SIGHUP, "[]", "only process 1"},
	} {
		p := tt.people
		tell := &Teller{Signal: tt.signal, All: tt.all, Age: time.Second, Table: p, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
		err := tell.Tell(t.Context(), "7")
		if got := fmt.Sprint(p.told); got != tt.told || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: told %s, %v, want %s, %q", tt.name, got, err, tt.told, tt.err)
		}
	}
	if err := (&Teller{}).Tell(t.Context(), "7"); err != nil {
		t.Errorf("nobody is to be told: %v", err)
	}
}

// TestTellHTTP: 2xx is yes, and everything else, silence too, is no.
func TestTellHTTP(t *testing.T) {
	var got atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Method + " " + r.Header.Get("X-Config-Version"))
		switch r.URL.Path {
		case "/made":
			w.WriteHeader(201)
		case "/no":
			http.Error(w, "line 3: no", http.StatusInternalServerError)
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/never":
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	for path, want := range map[string]string{
		"/ok": "", "/made": "", "/no": "500 Internal Server Error: line 3: no", "/never": "no answer within",
	} {
		tell := &Teller{URL: srv.URL + path, Timeout: 300 * time.Millisecond, Client: client, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
		if path != "/never" {
			tell.Timeout = 10 * time.Second
		}
		err := tell.Tell(t.Context(), "7")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || path != "/never" && got.Load() != "POST 7" {
			t.Errorf("%s: %v, %v, want %q", path, err, got.Load(), want)
		}
	}
	srv.Close()
	tell := &Teller{URL: srv.URL, Timeout: time.Second, Client: client}
	if err := tell.Tell(t.Context(), "7"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody there: %v", err)
	}
}

// TestRetold: an app whose reload fails by HTTP is told again until it does not (confd takes a file that is replaced for
// one that is loaded).
func TestRetold(t *testing.T) {
	s, _ := newSidecar(t)
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 3 {
			http.Error(w, "still booting", http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	s.Teller.Signal, s.Teller.URL, s.Teller.Client = 0, srv.URL, client
	start(t, s)
	s.Offer(set("1", "a"))
	settled(t, s, "1")
	if n.Load() != 3 {
		t.Errorf("told %d times", n.Load())
	}
}

// TestSettings: what a setting may be.
func TestSettings(t *testing.T) {
	type unmarshaler interface{ UnmarshalText([]byte) error }
	for _, tt := range []struct {
		to   unmarshaler
		good []string
		bad  []string
	}{
		{
			&sourceURL{},
			[]string{"http://h/x", "https://h:1/x?y=z", "etcd://h:2379/shop/", "etcd://a:1,b:2/config/shop", "etcds://h:1/x/", "/configmap"},
			[]string{"", "h", "configmap", "ftp://h/", "http://", "etcd://h/x", "etcd://h:1", "etcd://h:1/", "etcd://h:1,/x", "etcd://u@h:1/x", "http://h/#x"},
		},
		{&tellWay{}, []string{"SIGHUP", "SIGTERM", "nobody", "http://127.0.0.1/-/reload"}, []string{"", "HUP", "1", "SIGSTOP", "reload", "http://", "ftp://h/"}},
		{&command{}, []string{"", "a", "a b {dir}", `["a", "b c"]`}, []string{"[", "[]", `[""]`, `[1]`}},
		{&expression{}, []string{"", "^nginx: master"}, []string{"(", "["}},
		{new(fileMode), []string{"0644", "600", "0400"}, []string{"", "x", "0", "0222", "1777", "888", "-1"}},
	} {
		for _, text := range tt.good {
			if err := tt.to.UnmarshalText([]byte(text)); err != nil {
				t.Errorf("%T %q: %v", tt.to, text, err)
			}
		}
		for _, text := range tt.bad {
			if err := tt.to.UnmarshalText([]byte(text)); err == nil {
				t.Errorf("%T %q is taken", tt.to, text)
			}
		}
	}
}
