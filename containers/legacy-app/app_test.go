package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

const patience = 20 * time.Second

// shop is an app that is being served on loopback.
type shop struct {
	*App
	srv  *Server
	addr string
	reg  *prometheus.Registry
}

// open serves an app with built-in settings and files in memory.
func open(t *testing.T) *shop {
	t.Helper()
	site, err := OpenSite("")
	if err != nil {
		t.Fatal(err)
	}
	files, err := OpenFiles("", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{reg: prometheus.NewRegistry()}
	s.App = &App{Site: site, Files: files, Log: slog.New(slog.DiscardHandler), Metrics: newMetrics(s.reg)}
	s.srv = s.Server()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	go s.srv.Serve(ln)
	t.Cleanup(func() { s.srv.Close() })
	return s
}

// do sends one request; headers are name, value, name, value.
func (s *shop) do(t *testing.T, method, target string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr+target, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	client := &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestPages(t *testing.T) {
	s := open(t)
	for _, tt := range []struct {
		target string
		code   int
		kind   string // of the content, its beginning
		says   string // a part of the page
	}{
		{"/", 200, "text/html", "Welcome. We have been here"},
		{"/about", 200, "text/html", "<title>The Old Shop</title>"},
		{"/orders", 200, "text/html", "Orders, page 1 of 12"},
		{"/orders?page=12", 200, "text/html", "/orders/240"},
		{"/orders?page=13", 400, "text/plain", "page: a number from 1 to 12"},
		{"/orders?page=0", 400, "text/plain", "page: a number from 1 to 12"},
		{"/orders?page=x", 400, "text/plain", "page: a number"},
		{"/orders/17", 200, "application/json", `"id": 17`},
		{"/orders/0", 404, "text/plain", "no such order"},
		{"/orders/241", 404, "text/plain", "no such order"},
		{"/style.css", 200, "text/css", "Times New Roman"},
		{"/upload", 200, "text/html", "at most 8MiB"},
		{"/status/418", 418, "text/plain", "teapot"},
		{"/status/204", 204, "", ""},
		{"/status/42", 400, "text/plain", "a code from 200 to 599"},
		{"/nothing", 404, "text/plain", "not found"},
	} {
		resp, body := s.do(t, "GET", tt.target, nil)
		if resp.StatusCode != tt.code || !strings.HasPrefix(resp.Header.Get("Content-Type"), tt.kind) || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d %s %q", tt.target, resp.StatusCode, resp.Header.Get("Content-Type"), body)
		}
		if _, again := s.do(t, "GET", tt.target, nil); again != body {
			t.Errorf("%s: another answer the second time", tt.target)
		}
	}
	if resp, _ := s.do(t, "POST", "/about", nil); resp.StatusCode != 405 {
		t.Errorf("POST /about: %d", resp.StatusCode)
	}
	if resp, _ := s.do(t, "GET", "/old-about", nil, "X-Forwarded-Proto", "https"); resp.Header.Get("Location") != "http://"+s.addr+"/about" {
		t.Errorf("/old-about leads to %s", resp.Header.Get("Location"))
	}
	if resp, _ := s.do(t, "GET", "/style.css", nil, "If-Modified-Since", styleTime.Format(http.TimeFormat)); resp.StatusCode != 304 {
		t.Errorf("/style.css, not modified: %d", resp.StatusCode)
	}
}

// The books must not change when the code does: labs compare them.
func TestOrdersStayTheSame(t *testing.T) {
	want := Order{ID: 17, Customer: "Radia", Item: "lamp", Quantity: 6, Cents: 45702}
	if diff := cmp.Diff(want, orderOf(17)); diff != "" {
		t.Errorf("order 17 (-want +got):\n%s", diff)
	}
}

func TestSettingsAreEscaped(t *testing.T) {
	s := open(t)
	s.Site.state.Title, s.Site.state.Greeting = "<script>", `"&`
	if _, body := s.do(t, "GET", "/", nil); strings.Contains(body, "<script>") || !strings.Contains(body, "<p>&#34;&amp;</p>") {
		t.Errorf("not escaped:\n%s", body)
	}
}

func echoOf(t *testing.T, body string) Echo {
	t.Helper()
	var e Echo
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return e
}

func sum(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}

func TestEcho(t *testing.T) {
	s := open(t)
	_, body := s.do(t, "PATCH", "/echo/a%2Fb?x=1&x=%20", strings.NewReader("hello\n"),
		"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "192.0.2.2", "X-Forwarded-Proto", "https", "User-Agent", "test")
	got := echoOf(t, body)
	host, _, _ := net.SplitHostPort(got.Remote)
	if host != "127.0.0.1" {
		t.Errorf("remote %s: it must believe the connection alone", got.Remote)
	}
	got.Remote = ""
	want := Echo{
		Method: "PATCH", Target: "/echo/a%2Fb?x=1&x=%20", Path: "/echo/a/b", Query: "x=1&x=%20", Proto: "HTTP/1.1", Host: s.addr,
		Headers: map[string][]string{
			"Connection": {"close"}, "Content-Length": {"6"}, "User-Agent": {"test"},
			"X-Forwarded-For": {"192.0.2.1", "192.0.2.2"}, "X-Forwarded-Proto": {"https"},
		},
		TransferEncoding: []string{}, ContentLength: 6, Trailers: map[string][]string{},
		Length: 6, SHA256: sum("hello\n"), Body: "hello\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("echo (-want +got):\n%s", diff)
	}
}

func TestEchoBodies(t *testing.T) {
	s := open(t)
	large := strings.Repeat("x", maxEchoed)
	for _, tt := range []struct{ name, body, shown string }{
		{"none", "", ""},
		{"as large as is shown", large, large},
		{"larger", large + "y", ""},
		{"much larger", strings.Repeat(large, 300), ""},
		{"binary", "a\x00b", ""},
		{"not UTF-8", "a\xffb", ""},
	} {
		// A reader of no known length: chunked.
		_, text := s.do(t, "POST", "/echo", io.MultiReader(strings.NewReader(tt.body)))
		got := echoOf(t, text)
		if got.Length != int64(len(tt.body)) || got.SHA256 != sum(tt.body) || got.Body != tt.shown {
			t.Errorf("%s: length %d, body of %d bytes", tt.name, got.Length, len(got.Body))
		}
		if tt.body != "" && (got.ContentLength != -1 || !cmp.Equal(got.TransferEncoding, []string{"chunked"})) {
			t.Errorf("%s: declared %d %v, want chunked", tt.name, got.ContentLength, got.TransferEncoding)
		}
	}
}

// raw sends bytes and reads one answer.
func (s *shop) raw(t *testing.T, text string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

func TestHTTP1Only(t *testing.T) {
	s := open(t)
	if resp := s.raw(t, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); resp.StatusCode != 400 {
		t.Errorf("HTTP/2 with prior knowledge: %s", resp.Status)
	}
	upgrade := s.raw(t, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if upgrade.StatusCode != 200 || upgrade.ProtoMajor != 1 {
		t.Errorf("upgrade to HTTP/2: %s %s", upgrade.Proto, upgrade.Status)
	}
	if resp := s.raw(t, "\x16\x03\x01\x00\x05hello\r\n\r\n"); resp.StatusCode != 400 {
		t.Errorf("TLS: %s", resp.Status)
	}
}

func TestTrailers(t *testing.T) {
	s := open(t)
	resp := s.raw(t, "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n3\r\nabc\r\n0\r\nSum: 6\r\n\r\n")
	body, _ := io.ReadAll(resp.Body)
	got := echoOf(t, string(body))
	if diff := cmp.Diff(map[string][]string{"Sum": {"6"}}, got.Trailers); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
}

func TestMetrics(t *testing.T) {
	s := open(t)
	s.do(t, "GET", "/about", nil)
	s.do(t, "GET", "/about", nil)
	s.do(t, "GET", "/nothing", nil)
	s.do(t, "GET", "/status/503", nil)
	s.do(t, "GET", "/status/304", nil)
	got := map[string]float64{}
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			got[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"legacy_app_in_flight":                    0,
		"legacy_app_reloads_total result=loaded":  0,
		"legacy_app_reloads_total result=refused": 0,
		"legacy_app_requests_total code=200":      2,
		"legacy_app_requests_total code=304":      1,
		"legacy_app_requests_total code=404":      1,
		"legacy_app_requests_total code=503":      1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
