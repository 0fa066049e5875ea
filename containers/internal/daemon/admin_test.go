package daemon

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// serve is the admin port of a process, on loopback.
func serve(t *testing.T, p *Process) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := p.serveAdmin(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

func TestStatus(t *testing.T) {
	p, _ := newTestProcess(time.Hour)
	url := "http://" + serve(t, p) + "/status"
	if code, _ := get(t, url); code != 404 {
		t.Errorf("without a status: %d", code)
	}
	n := 0
	p.Status(func() any { n++; return map[string]int{"cats": n} })
	for _, want := range []string{"{\n  \"cats\": 1\n}", "{\n  \"cats\": 2\n}"} {
		if code, body := get(t, url); code != 200 || body != want {
			t.Errorf("status %d %s, want %s", code, body, want)
		}
	}
	p.Status(func() any { return make(chan int) })
	if code, body := get(t, url); code != 500 || body != "json: unsupported type: chan int" {
		t.Errorf("a value without JSON: %d %s", code, body)
	}
}

func TestMetrics(t *testing.T) {
	p, _ := newTestProcess(time.Hour)
	cats := prometheus.NewGauge(prometheus.GaugeOpts{Name: "cat_herder_cats", Help: "Cats."})
	p.Metrics.MustRegister(cats)
	cats.Set(9)
	url := "http://" + serve(t, p) + "/metrics"
	_, before := get(t, url)
	p.Ready(true, "")
	_, after := get(t, url)
	for _, want := range []string{
		"cat_herder_cats 9",
		`cat_herder_build_info{go_version="` + runtime.Version() + `",version="dev"} 1`,
		"cat_herder_ready 1",
		"# TYPE go_goroutines gauge",
		"# TYPE process_resident_memory_bytes gauge",
	} {
		if !slices.Contains(strings.Split(after, "\n"), want) {
			t.Errorf("no line %q", want)
		}
	}
	if !strings.Contains(before, "\ncat_herder_ready 0\n") {
		t.Error("ready before it was")
	}
}

func TestAdminRefuses(t *testing.T) {
	p, _ := newTestProcess(time.Hour)
	base := "http://" + serve(t, p)
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/status"} {
		if code, _ := post(t, base+path); code != 405 {
			t.Errorf("POST %s is %d", path, code)
		}
	}
	if code, _ := get(t, base+"/"); code != 404 {
		t.Errorf("/ is %d", code)
	}
	req, err := http.NewRequest("GET", base+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cat", strings.Repeat("x", 16<<10))
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close() // not read: the server closes on what it did not read
	if resp.StatusCode != 431 {
		t.Errorf("a header of 16 KiB is %d", resp.StatusCode)
	}
}

// Connections that send nothing, or slowly, fill the admin port but do not
// keep it.
func TestAdminOutlivesSilentConnections(t *testing.T) {
	t.Parallel()
	p, _ := newTestProcess(time.Hour)
	address := serve(t, p)
	var silent []net.Conn
	for range adminConns {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n"); err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	begin := time.Now()
	if code, _ := get(t, "http://"+address+"/livez"); code != 200 {
		t.Errorf("/livez is %d", code)
	}
	// The limit made it wait, and ReadHeaderTimeout (2 s) let it in.
	if took := time.Since(begin); took < time.Second || took > 4*time.Second {
		t.Errorf("answered after %s, want about 2s", took)
	}
	for _, conn := range silent {
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, net.ErrClosed) && !isReset(err) {
			t.Fatalf("a silent connection was not closed: %v", err)
		}
	}
}
