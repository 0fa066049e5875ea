package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/etcd"

	"golang.org/x/net/dns/dnsmessage"
)

const patience = 20 * time.Second

// await asks until it is so.
func await(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for begun := time.Now(); !ask(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("no %s", what)
		}
	}
}

// serve is a server that says its name to each line that it gets.
func serve(t *testing.T, name string) (address string, end func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, name)
				}
			}()
		}
	}()
	return ln.Addr().String(), func() { ln.Close() }
}

func ask(conn net.Conn) (string, error) {
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(conn, "who"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// door is a service with a door on loopback.
func door(t *testing.T, change func(*Policy), places int) (*Service, string) {
	t.Helper()
	s := newService(t, nil, change)
	s.Dial = new(net.Dialer).DialContext
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	d := &Door{Service: s, Places: make(chan struct{}, places)}
	go func() { ended <- d.Serve(ctx, ln, func() context.Context { return ctx }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, daemon.ErrDrainCut) {
			t.Error(err)
		}
	})
	return s, ln.Addr().String()
}

func at(list ...string) Answer {
	a := newAnswer("1")
	for _, address := range list {
		a.Instances["redis"] = append(a.Instances["redis"], Instance{ID: address, Address: address, Labels: map[string]string{"env": "staging"}})
	}
	return a
}

func TestDoor(t *testing.T) {
	s, address := door(t, func(p *Policy) { p.LeaveTimeout = 300 * time.Millisecond; p.CheckInterval = time.Hour }, 3)
	a, endA := serve(t, "a")
	b, _ := serve(t, "b")
	s.Hear(at(a, b), nil)
	await(t, "both", func() bool { return strings.Count(states(s), " up") == 2 })
	byName := map[string]net.Conn{}
	for range 2 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		who, err := ask(c)
		if err != nil {
			t.Fatal(err)
		}
		byName[who] = c
	}
	if len(byName) != 2 {
		t.Fatalf("both met the same: %v", byName)
	}
	// A dead one costs nothing: the next is tried.
	endA()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if who, err := ask(c); who != "b" || err != nil {
		t.Errorf("%q, %v", who, err)
	}
	// One too many is reset, at times before its dialer knows that it is connected.
	if d, err := net.Dial("tcp", address); err == nil {
		if who, err := ask(d); err == nil {
			t.Errorf("a fourth met %q", who)
		}
		d.Close()
	}
	c.Close()
	// The one that was there goes on until its instance has left for long enough.
	s.Hear(at(b), nil)
	if who, err := ask(byName["a"]); who != "a" || err != nil {
		t.Errorf("%q, %v", who, err)
	}
	await(t, "end of its time", func() bool { _, err := ask(byName["a"]); return err != nil })
	if who, err := ask(byName["b"]); who != "b" || err != nil {
		t.Errorf("%q, %v", who, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts.cut != 1 || s.counts.refused != 1 {
		t.Errorf("%+v", s.counts)
	}
}

func TestLineCheck(t *testing.T) {
	address, _ := serve(t, "+PONG")
	for check, want := range map[string]string{
		"PING:+PONG": "", "PING:+PO": "", "PING:-ERR": `answered "+PON"`, "PING:+PONG and more": `answered "+PONG"`, ":220": "no answer within",
	} {
		c, err := ParseCheck(check)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("no answer within 200ms"))
		err = c.Do(ctx, new(net.Dialer).DialContext, address)
		cancel()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", check, err)
		}
	}
}

// gateway is etcd's JSON gateway, as far as it is used here; keys by name, a history that can be compacted.
type gateway struct {
	mu        sync.Mutex
	revision  int64
	compacted int64
	keys      map[string]string
	leases    map[string]bool
	changed   chan struct{}
	raw       string // what to say in place of any answer
}

func (g *gateway) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	g.revision++
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Key, Value    []byte
		Lease, ID     string
		CreateRequest struct {
			StartRevision int64 `json:"start_revision,string"`
		} `json:"create_request"`
	}
	json.NewDecoder(r.Body).Decode(&in)
	g.mu.Lock()
	defer g.mu.Unlock()
	b64 := base64.StdEncoding.EncodeToString
	switch {
	case g.raw != "":
		io.WriteString(w, g.raw)
	case r.URL.Path == "/v3/kv/range":
		var kvs []string
		for k, v := range g.keys {
			if strings.HasPrefix(k, string(in.Key)) {
				kvs = append(kvs, fmt.Sprintf(`{"key":%q,"value":%q}`, b64([]byte(k)), b64([]byte(v))))
			}
		}
		fmt.Fprintf(w, `{"header":{"revision":"%d"},"kvs":[%s]}`, g.revision, strings.Join(kvs, ","))
	case r.URL.Path == "/v3/watch":
		fmt.Fprintln(w, `{"result":{"created":true}}`)
		w.(http.Flusher).Flush()
		if in.CreateRequest.StartRevision <= g.compacted {
			fmt.Fprintf(w, `{"result":{"canceled":true,"compact_revision":"%d"}}`, g.compacted)
			return
		}
		for g.revision < in.CreateRequest.StartRevision {
			changed := g.changed
			g.mu.Unlock()
			select {
			case <-changed:
			case <-r.Context().Done():
			}
			g.mu.Lock()
			if r.Context().Err() != nil {
				return
			}
		}
		fmt.Fprintln(w, `{"result":{"events":[{},{}]}}`)
	case r.URL.Path == "/v3/lease/grant":
		id := fmt.Sprint(len(g.leases) + 1)
		g.leases[id] = true
		fmt.Fprintf(w, `{"ID":%q,"TTL":"3"}`, id)
	case r.URL.Path == "/v3/lease/keepalive" && g.leases[in.ID]:
		fmt.Fprintf(w, `{"result":{"ID":%q,"TTL":"3"}}`, in.ID)
	case r.URL.Path == "/v3/lease/keepalive":
		fmt.Fprintf(w, `{"result":{"ID":%q}}`, in.ID)
	case r.URL.Path == "/v3/kv/put":
		g.keys[string(in.Key)] = string(in.Value)
		io.WriteString(w, `{}`)
	case r.URL.Path == "/v3/lease/revoke":
		delete(g.leases, in.ID)
		clear(g.keys)
		io.WriteString(w, `{}`)
	}
}

func newGateway(t *testing.T) (*gateway, *etcd.Client) {
	g := &gateway{revision: 7, keys: map[string]string{}, leases: map[string]bool{}, changed: make(chan struct{})}
	srv := httptest.NewServer(g)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return g, &etcd.Client{Endpoints: []string{srv.URL}, Timeout: patience, Most: 1 << 16}
}

func TestEtcd(t *testing.T) {
	g, client := newGateway(t)
	g.keys["/services/redis/a"] = `{"address":"a:1"}`
	g.keys["/services/redis/bad"] = `{`
	g.keys["/services/note"] = "somebody's"
	e := &Etcd{Client: client, Prefix: "/services/", Relist: time.Hour}
	next := func() Answer {
		t.Helper()
		a, err := e.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := next(); len(a.Instances["redis"]) != 1 || len(a.Garbled["redis"]) != 1 || len(a.Instances) != 1 {
		t.Errorf("%+v", a)
	}
	g.set(func() { g.keys["/services/redis/b"] = `{"address":"b:1"}` })
	if a := next(); len(a.Instances["redis"]) != 2 || a.Version != "revision 8" {
		t.Errorf("after a change: %+v", a)
	}
	// One leaves, and the history is gone: nothing is taken for unchanged.
	g.set(func() { delete(g.keys, "/services/redis/a"); g.compacted = 99 })
	if a := next(); len(a.Instances["redis"]) != 1 {
		t.Errorf("after a compaction: %+v", a)
	}
	for _, raw := range []string{"<html>", "{}", `{"header":{"revision":"x"}}`, strings.Repeat(" ", 1<<17), `{"header":{"revision":"9"},"kvs":[{"key":"eA=="}]}`} {
		e.revision = 0
		g.set(func() { g.raw = raw })
		if a, err := e.Next(t.Context()); err == nil {
			t.Errorf("%.40q is an answer: %+v", raw, a)
		}
	}
	g.set(func() { g.raw = "" })
	if a := next(); len(a.Instances["redis"]) != 1 {
		t.Errorf("well again: %+v", a)
	}
	e.Relist = 20 * time.Millisecond
	g.mu.Lock()
	g.compacted = 0
	delete(g.keys, "/services/redis/b") // and no event says so
	g.mu.Unlock()
	if a := next(); len(a.Instances["redis"]) != 0 {
		t.Errorf("an event was lost: %+v", a)
	}
}

// TestHung: a connection is taken, and nothing comes.
func TestHung(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	e := &Etcd{
		Client: &etcd.Client{Endpoints: []string{"http://" + ln.Addr().String()}, Timeout: 50 * time.Millisecond, Most: 1 << 16},
		Prefix: "/services/", Relist: time.Hour,
	}
	for _, revision := range []int64{0, 7} {
		e.revision = revision
		if _, err := e.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "within 50ms") {
			t.Errorf("from revision %d: %v", revision, err)
		}
	}
}

func TestRegister(t *testing.T) {
	g, client := newGateway(t)
	args := []string{"-etcd", client.Endpoints[0], "-service", "redis", "-id", "a", "-address", "a:1", "-label", "env=x", "-ttl", "1s"}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() { done <- register(ctx, args, io.Discard, io.Discard) }()
	there := func() bool { return registeredCommand.Run(t.Context(), args, io.Discard, io.Discard) == 0 }
	await(t, "registration", there)
	for what, lose := range map[string]func(){
		"the key":         func() { clear(g.keys) },
		"another's value": func() { g.keys["/services/redis/a"] = "x" },
		"key and lease":   func() { clear(g.keys); g.leases = map[string]bool{"0": true} },
	} {
		g.set(lose)
		await(t, "registration after losing "+what, there)
	}
	cancel()
	if code := <-done; code != 0 || there() {
		t.Errorf("exit code %d, and it is there: %v", code, there())
	}
	for _, bad := range [][]string{{}, {"-service", "redis"}, {"-service", "re/dis", "-id", "a", "-address", "a:1"}, append(args, "more"), append(args, "-label", "x")} {
		var said strings.Builder
		if code := register(t.Context(), bad, io.Discard, &said); code != 2 || strings.Count(said.String(), "\n") != 1 {
			t.Errorf("%q: exit code %d, %s", bad, code, said.String())
		}
	}
}

// TestDNS: a server that truncates over UDP, after it has sent an answer that is another's.
func TestDNS(t *testing.T) {
	var udp net.PacketConn
	var tcp net.Listener
	for tcp == nil { // until there is a number that is free for both
		var err error
		if udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		tcp, _ = net.Listen("tcp", udp.LocalAddr().String())
	}
	defer tcp.Close()
	answer := func(text []byte, truncated bool) []byte {
		var in dnsmessage.Message
		if err := in.Unpack(text); err != nil || len(in.Questions) != 1 {
			return nil
		}
		q := in.Questions[0]
		h := dnsmessage.Header{ID: in.ID, Truncated: truncated}
		if truncated || q.Type == dnsmessage.TypeAAAA {
			return packet(t, h, q)
		}
		return packet(t, h, q, record(q, 3, &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}))
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			other := append([]byte{buf[0] ^ 1}, buf[1:n]...)
			udp.WriteTo(answer(other, false), from)
			udp.WriteTo(answer(buf[:n], true), from)
		}
	}()
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			head := make([]byte, 2)
			io.ReadFull(conn, head)
			text := make([]byte, binary.BigEndian.Uint16(head))
			io.ReadFull(conn, text)
			text = answer(text, false)
			conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...))
			conn.Close()
		}
	}()
	d := &DNS{Service: "redis", Name: "redis.staging:6379", Server: udp.LocalAddr().String(), Min: time.Second, Max: 2 * time.Second, Timeout: patience}
	a, err := d.Next(t.Context())
	if err != nil || len(a.Instances["redis"]) != 1 || a.Instances["redis"][0].Address != "10.0.0.1:6379" {
		t.Errorf("%+v, %v", a, err)
	}
	if wait := time.Until(d.next); wait < time.Second || wait > 2*time.Second {
		t.Errorf("asks again in %v: the TTL is 3 s, the most 2 s", wait)
	}
	udp.Close()
	d.next, d.Timeout = time.Time{}, 50*time.Millisecond
	if _, err := d.Next(t.Context()); err == nil {
		t.Error("no server, and no error")
	}
}

func TestFileAndState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.json")
	f := &File{Path: path, Poll: time.Millisecond}
	if _, err := f.Next(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	os.WriteFile(path, []byte(`{"redis":[{"id":"a","address":"a:1"}]}`), 0o600)
	if a, err := f.Next(t.Context()); err != nil || len(a.Instances["redis"]) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	state := map[string]Kept{"redis": {Select: "env=x", Version: "7", Confirmed: time.Now().UTC().Truncate(0), Instances: []Instance{{ID: "a", Address: "a:1"}}}}
	if err := writeState(path, state); err != nil {
		t.Fatal(err)
	}
	got, err := readState(path)
	if err != nil || got["redis"].Version != "7" || !got["redis"].Confirmed.Equal(state["redis"].Confirmed) || len(got["redis"].Instances) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := readState(path + "none"); got != nil || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestStart: what was kept is used only for the same environment, and not when it is too old.
func TestStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	for name, c := range map[string]struct {
		label string
		age   time.Duration
		want  int
	}{
		"well": {"env=staging", time.Minute, 1}, "another environment's": {"env=production", time.Minute, 0}, "old": {"env=staging", 2 * time.Hour, 0},
	} {
		in := Instance{ID: "a", Address: "127.0.0.1:1", Labels: map[string]string{"env": "staging"}}
		if err := writeState(path, map[string]Kept{"redis": {c.label, "7", time.Now().Add(-c.age), []Instance{in}}}); err != nil {
			t.Fatal(err)
		}
		state, err := readState(path)
		if err != nil {
			t.Fatal(err)
		}
		s := newService(t, nil, nil)
		s.Dial = new(net.Dialer).DialContext
		s.Start(t.Context(), keptFor(s, state), "the registry is away")
		st := s.status()
		if len(st.Instances) != c.want || !st.Stale || c.want == 1 && (st.Age < 60 || st.From != "disk") {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

func TestSettings(t *testing.T) {
	good := config{Services: []string{"redis=:6379"}, Select: []string{"env=x"}, Source: "etcd", EtcdEndpoints: []string{"http://etcd:2379"}, EtcdPrefix: "/s/"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*config)
		want   string
	}{
		{func(c *config) { c.Select = nil }, "SELECT is not set"},
		{func(c *config) { c.Select = []string{"env"} }, `SELECT="env": not NAME=VALUE`},
		{func(c *config) { c.Services = []string{"redis=6379"} }, `SERVICES: redis="6379"`},
		{func(c *config) { c.Services = []string{"redis=:1", "redis=:2"} }, "SERVICES: redis is named twice"},
		{func(c *config) { c.Services = []string{"re/dis=:1"} }, "not NAME=VALUE"},
		{func(c *config) { c.Checks = []string{"mysql=none"} }, "CHECKS: SERVICES has no mysql"},
		{func(c *config) { c.Checks = []string{"redis=http"} }, "CHECKS: redis: not tcp, none or SEND:EXPECT"},
		{func(c *config) { c.EtcdEndpoints = []string{"etcd:2379"} }, `etcd: "etcd:2379" is not http://host:port`},
		{func(c *config) { c.EtcdEndpoints = nil }, "no address of etcd's"},
		{func(c *config) { c.EtcdPrefix = "" }, "ETCD_PREFIX is empty"},
		{func(c *config) { c.Source = "file" }, "FILE_PATH is not set"},
		{func(c *config) { c.Source = "dns" }, "SELECT is set, and DNS knows no labels"},
		{func(c *config) { c.Source, c.Select = "dns", nil }, "DNS_NAMES has no redis"},
		{func(c *config) { c.Source, c.Select, c.DNSNames, c.DNSMin = "dns", nil, []string{"redis=r:1"}, 1 }, "DNS_MIN is more than DNS_MAX"},
	} {
		cfg := good
		c.change(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
}
