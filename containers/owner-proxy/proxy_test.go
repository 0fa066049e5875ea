package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/etcd"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
	"distlab/containers/internal/httpcases"

	"github.com/prometheus/client_golang/prometheus"
)

const patience = 20 * time.Second

// await asks until it is so.
func await(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for begun := time.Now(); !ask(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("no %s", what)
		}
	}
}

func newProxy(t *testing.T, change func(*Proxy)) (p *Proxy, url string) {
	t.Helper()
	p = &Proxy{
		Owner: &Owner{}, Wait: patience, MaxWaiting: 100, Grace: 50 * time.Millisecond, KeepBody: 1 << 10, OwnerHeader: "X-Owner",
		Limits:    forward.Limits{HeaderBytes: 32 << 10, Connect: time.Second, Response: patience, Header: time.Second, Body: time.Second},
		Forwarder: &http1.Forwarder{Scheme: "http"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Metrics: newMetrics(prometheus.NewRegistry()),
	}
	if change != nil {
		change(p)
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go p.Serve(ln)
	t.Cleanup(func() { p.Close() })
	return p, "http://" + ln.Addr().String()
}

// owner is an app that says its name, or 421 while it is not the owner.
type owner struct {
	name   string
	view   View
	not    atomic.Bool
	hang   atomic.Bool
	mu     sync.Mutex
	bodies []string
}

func newOwner(t *testing.T, name string) *owner {
	o := &owner{name: name}
	srv := httptest.NewServer(o)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	o.view = View{ID: name, Address: strings.TrimPrefix(srv.URL, "http://"), Term: name + "1"}
	return o
}

func (o *owner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if o.not.Load() {
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	o.mu.Lock()
	o.bodies = append(o.bodies, r.Method+" "+string(body))
	o.mu.Unlock()
	if o.hang.Load() {
		<-r.Context().Done()
		return
	}
	fmt.Fprint(w, o.name, " ", string(body))
}

func (o *owner) got() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.bodies...)
}

func send(t *testing.T, method, url, body string, head ...string) (code int, text string, h http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, "", nil
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Header
}

func TestLeads(t *testing.T) {
	p, url := newProxy(t, nil)
	a, b := newOwner(t, "a"), newOwner(t, "b")
	p.Owner.Set(a.view, 5)
	if code, text, h := send(t, "POST", url, "x"); code != 200 || text != "a x" || h.Get("X-Owner") != "a" {
		t.Errorf("%d %q %v", code, text, h)
	}
	p.Owner.Set(b.view, 7)
	// Who was deposed is not the owner again because somebody says so late.
	if p.Owner.Set(a.view, 6) {
		t.Error("an older answer is believed")
	}
	for range 20 {
		if code, text, _ := send(t, "GET", url, ""); code != 200 || text != "b " {
			t.Fatalf("%d %q", code, text)
		}
	}
	if n := len(a.got()); n != 1 {
		t.Errorf("the deposed one was asked %d times", n)
	}
}

// TestWaits: there is none, then one that does not know it yet, then one that does.
func TestWaits(t *testing.T) {
	p, url := newProxy(t, nil)
	a, b := newOwner(t, "a"), newOwner(t, "b")
	a.not.Store(true)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if code, text, h := send(t, "POST", url, "x"); code != 200 || text != "b x" || h.Get("X-Owner") != "b" {
				t.Errorf("%d %q %v", code, text, h)
			}
		})
	}
	await(t, "waiting", func() bool { return p.waiting.Load() == 10 })
	p.Owner.Set(a.view, 5)
	time.Sleep(3 * again)
	p.Owner.Set(b.view, 7)
	wg.Wait()
	if p.waiting.Load() != 0 {
		t.Error("they still wait")
	}
	// It learns it by itself.
	b.not.Store(true)
	time.AfterFunc(2*again, func() { b.not.Store(false) })
	if code, text, _ := send(t, "POST", url, "y"); code != 200 || text != "b y" {
		t.Errorf("%d %q", code, text)
	}
}

func TestGivesUp(t *testing.T) {
	p, url := newProxy(t, func(p *Proxy) { p.Wait = 150 * time.Millisecond; p.MaxWaiting = 1 })
	says503 := func(what string) {
		t.Helper()
		code, text, h := send(t, "POST", url, "x")
		if code != 503 || h.Get("Retry-After") != "1" {
			t.Errorf("%s: %d %q %v", what, code, text, h)
		}
	}
	says503("nobody")
	a := newOwner(t, "a")
	a.not.Store(true)
	p.Owner.Set(a.view, 5)
	says503("it is none")
	p.Owner.Set(View{ID: "c", Address: "127.0.0.1:1", Term: "c1"}, 6)
	says503("it cannot be reached")
	if n := len(a.got()); n != 0 {
		t.Errorf("it has done %d", n)
	}
	// A body that is too large to be kept is sent once.
	a.not.Store(true)
	p.Owner.Set(a.view, 7)
	if code, text, _ := send(t, "POST", url, strings.Repeat("x", 5<<10)); code != 503 {
		t.Errorf("%d %q", code, text)
	}
	// More than may wait are not kept.
	p.Owner.Set(View{}, 8)
	p.Wait = patience
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
	go http.DefaultClient.Do(req)
	await(t, "waiting", func() bool { return p.waiting.Load() == 1 })
	says503("too many")
	cancel()
	await(t, "end of the waiting", func() bool { return p.waiting.Load() == 0 })
}

// TestFrozen: an owner has a request and does not answer, and another one follows.
func TestFrozen(t *testing.T) {
	p, url := newProxy(t, nil)
	a, b := newOwner(t, "a"), newOwner(t, "b")
	a.hang.Store(true)
	p.Owner.Set(a.view, 5)
	var wg sync.WaitGroup
	wg.Go(func() {
		if code, _, _ := send(t, "POST", url, "x"); code != 502 {
			t.Errorf("it may have been done: %d", code)
		}
	})
	wg.Go(func() {
		if code, text, _ := send(t, "GET", url, ""); code != 200 || text != "b " {
			t.Errorf("%d %q", code, text)
		}
	})
	await(t, "requests", func() bool { return len(a.got()) == 2 })
	p.Owner.Set(View{}, 6) // nobody: it may still answer
	time.Sleep(3 * p.Grace)
	p.Owner.Set(b.view, 7)
	wg.Wait()
	if got := b.got(); len(got) != 1 || got[0] != "GET " {
		t.Errorf("%q", got)
	}
}

func TestLoop(t *testing.T) {
	p, url := newProxy(t, nil)
	p.Owner.Set(View{ID: "self", Address: strings.TrimPrefix(url, "http://"), Term: "1"}, 5)
	if code, text, _ := send(t, "GET", url, ""); code != 508 {
		t.Errorf("%d %q", code, text)
	}
}

// TestHostile: what is no request is not the owner's.
func TestHostile(t *testing.T) {
	p, url := newProxy(t, nil)
	a := newOwner(t, "a")
	p.Owner.Set(a.view, 5)
	for _, raw := range []string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, raw)
		conn.SetReadDeadline(time.Now().Add(patience))
		head := make([]byte, 12)
		if _, err := io.ReadFull(conn, head); err == nil && string(head) != "HTTP/1.1 400" {
			t.Errorf("%q: %q", raw, head)
		}
		conn.Close()
	}
	if got := a.got(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	// What a client says of itself is dropped; a header of the owner's name is the proxy's.
	if code, _, h := send(t, "GET", url, "", "X-Owner", "me"); code != 200 || h.Get("X-Owner") != "a" {
		t.Errorf("%d %v", code, h)
	}
}

// TestRequests holds it to the table of all containers.
func TestRequests(t *testing.T) {
	app, err := httpcases.NewApp()
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	p, url := newProxy(t, func(p *Proxy) { p.Upgrades, p.OwnerHeader, p.Wait = []string{"websocket"}, "", 0 })
	p.Owner.Set(View{ID: "app", Address: app.Addr, Term: "1"}, 5)
	for _, c := range httpcases.Requests {
		for _, complaint := range c.Run(app, func() (net.Conn, error) { return net.Dial("tcp", strings.TrimPrefix(url, "http://")) }) {
			t.Errorf("%s (%s): %s", c.Name, c.Why, complaint)
		}
	}
}

// TestBreaks: a request that breaks each owner off is not sent for ever.
func TestBreaks(t *testing.T) {
	p, url := newProxy(t, nil)
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	p.Owner.Set(View{ID: "a", Address: strings.TrimPrefix(srv.URL, "http://"), Term: "1"}, 5)
	for method, want := range map[string]int32{"GET": mostBroken, "POST": 1} {
		asked.Store(0)
		if code, text, _ := send(t, method, url, ""); code != 502 || asked.Load() != want {
			t.Errorf("%s: %d %q after %d tries, want %d", method, code, text, asked.Load(), want)
		}
	}
}

// TestWatch reads a key that changes, and one that cannot be read.
func TestWatch(t *testing.T) {
	const key = "/elections/x/owner"
	var mu sync.Mutex
	value, revision, changed := "", 5, make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var doc struct {
			Create struct {
				Start string `json:"start_revision"`
			} `json:"create_request"`
		}
		json.NewDecoder(r.Body).Decode(&doc)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/v3/watch" {
			if start, _ := strconv.Atoi(doc.Create.Start); start <= revision {
				fmt.Fprintln(w, `{"result":{"events":[{}]}}`)
				return
			}
			fmt.Fprintln(w, `{"result":{"created":true}}`)
			http.NewResponseController(w).Flush()
			now := changed
			mu.Unlock()
			select {
			case <-now:
				fmt.Fprintln(w, `{"result":{"events":[{}]}}`)
			case <-r.Context().Done():
			}
			mu.Lock()
			return
		}
		b64 := base64.StdEncoding.EncodeToString
		kvs := fmt.Sprintf(`{"key":%q,"value":%q}`, b64([]byte(key+"s")), b64([]byte(`{"id":"z","address":"z:1"}`)))
		if value != "" {
			kvs += fmt.Sprintf(`,{"key":%q,"value":%q}`, b64([]byte(key)), b64([]byte(value)))
		}
		fmt.Fprintf(w, `{"header":{"revision":"%d"},"kvs":[%s]}`, revision, kvs)
	}))
	defer srv.Close()
	defer srv.CloseClientConnections()
	set := func(v string) {
		mu.Lock()
		defer mu.Unlock()
		value = v
		revision++
		close(changed)
		changed = make(chan struct{})
	}
	var ready atomic.Bool
	w := &Watch{
		Key: key, Relist: patience, Client: &etcd.Client{Endpoints: []string{srv.URL}, HTTP: &http.Client{}, Timeout: time.Second, Most: 64 << 10},
		Ready: func(ok bool, _ string) { ready.Store(ok) }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Metrics: newMetrics(prometheus.NewRegistry()),
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.Run(ctx)
	is := func(id string) func() bool { return func() bool { v, _ := w.Owner.Now(); return v.ID == id } }
	await(t, "answer", ready.Load)
	if !is("")() {
		t.Error("another election's owner is taken")
	}
	set(`{"id":"a","address":"a:8080","term":"1"}`)
	await(t, "a", is("a"))
	set(`{"id":"b","address":"b:8080","term":"2"}`)
	await(t, "b", is("b"))
	for _, bad := range []string{`{"id":"b"`, `{"id":"b"}`, `{"id":"b","address":"b"}`, `{"id":"b c","address":"b:1"}`, "null", "[]"} {
		set(bad)
		await(t, "nobody for "+bad, is(""))
		set(`{"id":"a","address":"a:8080","term":"3"}`)
		await(t, "a", is("a"))
	}
}

// FuzzRead: who is an owner has a name and an address.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"id":"a","address":"a:8080","term":"1"}`))
	f.Add([]byte(`{"id":"a","address":"[::1]:8080"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		v, err := read([]etcd.KV{{Key: []byte("k"), Value: value}}, "k")
		if err == nil {
			if host, port, err := net.SplitHostPort(v.Address); err != nil || host == "" || port == "" || v.ID == "" {
				t.Errorf("%+v", v)
			}
		} else if v != (View{}) {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func TestCheck(t *testing.T) {
	good := config{Election: "x", Endpoints: []string{"http://etcd:2379"}, OwnerHeader: "X-Owner"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []config{
		{Election: "a/b", Endpoints: good.Endpoints},
		{Election: "x"},
		{Election: "x", Endpoints: []string{"etcd:2379"}},
		{Election: "x", Endpoints: good.Endpoints, OwnerHeader: "X Owner"},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v", bad)
		}
	}
}
