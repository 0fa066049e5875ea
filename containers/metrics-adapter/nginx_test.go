package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// debianPage is what nginx 1.22.1 gives.
const debianPage = "Active connections: 3 \nserver accepts handled requests\n 10 9 24 \nReading: 0 Writing: 1 Waiting: 2 \n"

// statusOf is what is made of a page.
func statusOf(t *testing.T, body string) map[string]*dto.MetricFamily {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
	defer srv.Close()
	return scrapeNginx(t, srv.URL)
}

func scrapeNginx(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	at, err := parseStatusURL(text)
	if err != nil {
		t.Fatal(err)
	}
	return gather(t, newTarget(newNginx(at, nil), 300*time.Millisecond).Scrape(context.Background()))
}

func TestStubStatus(t *testing.T) {
	all := []string{
		"nginx_up 1", "nginx_connections_active 3", "nginx_connections_accepted 10", "nginx_connections_handled 9", "nginx_http_requests_total 24",
		"nginx_connections_reading 0", "nginx_connections_writing 1", "nginx_connections_waiting 2",
	}
	none := []string{"nginx_up 0", "nginx_connections_active", "nginx_http_requests_total"}
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"nginx", debianPage, all},
		{"CRLF", strings.ReplaceAll(debianPage, "\n", "\r\n"), all},
		{"Tengine", strings.NewReplacer("requests\n", "requests request_time\n", "24 \n", "24 12345 \n").Replace(debianPage), all},
		{"large", strings.Replace(debianPage, " 24 ", " 9007199254740991 ", 1), []string{"nginx_http_requests_total 9.007199254740991e+15"}},
		{"empty", "", none},
		{"HTML", "<html><title>404</title>", none},
		{"cut", debianPage[:60], none},
		{"no number", strings.Replace(debianPage, "24", "many", 1), none},
		{"negative", strings.Replace(debianPage, "24", "-1", 1), none},
	} {
		t.Run(c.name, func(t *testing.T) { wants(t, statusOf(t, c.body), c.want...) })
	}
}

// TestNginxDown: up 0, whatever the server does.
func TestNginxDown(t *testing.T) {
	hold := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, debianPage) })
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer close(hold)
	wants(t, scrapeNginx(t, srv.URL+"/ok"), "nginx_up 1")
	for _, path := range []string{"/absent", "/moved", "/hang"} {
		wants(t, scrapeNginx(t, srv.URL+path), "nginx_up 0", "nginx_connections_active")
	}
	wants(t, scrapeNginx(t, "http://127.0.0.1:1/"), "nginx_up 0")
}

// TestSockets: two servers behind two sockets are two servers.
func TestSockets(t *testing.T) {
	for i, active := range []string{"3", "5"} {
		path := filepath.Join(t.TempDir(), fmt.Sprint(i))
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, strings.Replace(debianPage, "3", active, 1))
		})}
		go srv.Serve(ln)
		defer srv.Close()
		wants(t, scrapeNginx(t, "unix:"+path+":/stub_status"), "nginx_connections_active "+active)
	}
}

func FuzzStubStatus(f *testing.F) {
	f.Add(debianPage)
	f.Add("server accepts\n1 2 3\nReading: Writing: x 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseStubStatus(text)
		if err == nil && (s.active < 0 || s.requests < 0 || s.accepted < 0) {
			t.Errorf("%+v", s)
		}
	})
}
