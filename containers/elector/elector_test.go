package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"distlab/containers/internal/etcd"
	"distlab/containers/internal/names"

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

// candidate runs an elector. stop ends it as SIGTERM does, and waits until it has ended.
func candidate(t *testing.T, id string, change func(*Elector), urls ...string) (e *Elector, stop func()) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	e = &Elector{
		Store: &Store{
			Key:    "/elections/test/owner",
			Client: &etcd.Client{Endpoints: urls, HTTP: client, Timeout: 2 * time.Second, Most: 64 << 10},
		},
		Election: "test", ID: id, Address: id + ":8080",
		// Long enough for a busy machine: where a lease has to end the test makes it short. The fake's 20 s take ten.
		Lease: 20 * time.Second, Deadline: 7 * time.Second, Retry: 20 * time.Millisecond,
		App: &App{Timeout: time.Second, Failures: 2, Client: client}, Clock: Clock(1),
		Ready: func(bool, string) {}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Metrics: newMetrics(prometheus.NewRegistry()),
		Drain: func() context.Context {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			t.Cleanup(cancel)
			return ctx
		},
	}
	if change != nil {
		change(e)
	}
	if err := e.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(func() { stop(); client.CloseIdleConnections() })
	return e, stop
}

func owns(e *Elector) func() bool { return func() bool { return e.Told().Owner } }

func TestOneOwner(t *testing.T) {
	f := newFake(t)
	var all []*Elector
	for _, id := range []string{"a", "b", "c"} {
		e, _ := candidate(t, id, nil, f.url)
		all = append(all, e)
	}
	last := int64(0)
	for range 5 {
		var owner *Elector
		await(t, "owner", func() bool {
			n := 0
			for _, e := range all {
				if told := e.Told(); told.Owner && told.Token > last {
					owner = e
					n++
				}
			}
			return n == 1
		})
		told := owner.Told()
		if told.Token != f.token() || told.Left <= 0 || told.Left > 7 {
			t.Fatalf("%+v; the store's token is %d", told, f.token())
		}
		last = told.Token
		for _, e := range all {
			await(t, "knowing it", func() bool {
				h := e.Told().Holder
				return h != nil && h.ID == owner.ID && h.Token == last || f.token() != last
			})
		}
		owner.Handover(50 * time.Millisecond)
	}
}

// TestStoreGone: connections stay open, and nothing comes.
func TestStoreGone(t *testing.T) {
	f := newFake(t)
	const deadline = 700 * time.Millisecond
	e, _ := candidate(t, "a", func(e *Elector) { e.Lease, e.Deadline = 2*time.Second, deadline }, f.url)
	await(t, "owner", owns(e))
	token := e.Told().Token
	f.freeze(true)
	begun := time.Now()
	for {
		told := e.Told()
		if told.Owner && told.Renewed >= deadline.Seconds() {
			t.Fatalf("%+v", told)
		}
		if !told.Owner {
			break
		}
		if time.Since(begun) > patience {
			t.Fatal("it goes on")
		}
	}
	await(t, "end of the term", func() bool { s := e.Status(); return len(s.Terms) > 0 && s.Terms[0].Why == whyNoRenewal })
	f.freeze(false)
	await(t, "owner again", owns(e))
	if e.Told().Token <= token {
		t.Errorf("the token is %d after %d", e.Told().Token, token)
	}
}

// TestWakes: a process that was frozen is asked before its timers have run.
func TestWakes(t *testing.T) {
	f := newFake(t)
	var ahead atomic.Int64
	e, _ := candidate(t, "a", func(e *Elector) {
		e.Clock = func() time.Duration { return boot() + time.Duration(ahead.Load()) }
		e.Deadline, e.Retry = 30*time.Second, 5*time.Second // no timer runs
	}, f.url)
	await(t, "owner", owns(e))
	ahead.Store(int64(31 * time.Second))
	if told := e.Told(); told.Owner || told.Token != 0 || !told.Until.IsZero() {
		t.Errorf("%+v", told)
	}
	if s := e.Status(); len(s.Terms) != 0 {
		t.Errorf("%+v", s.Terms)
	}
}

// TestLostAnswer: it was done, and nobody has heard.
func TestLostAnswer(t *testing.T) {
	f := newFake(t)
	f.lose = 1
	e, _ := candidate(t, "a", nil, f.url)
	await(t, "owner", owns(e))
	if e.Told().Token != f.token() {
		t.Errorf("%d, and the store has %d", e.Told().Token, f.token())
	}
	if log := strings.Join(f.log(), " "); log != "grant take take" {
		t.Error(log)
	}
}

// TestStops: the app ends first, then the lease, and the next one has not to wait.
func TestStops(t *testing.T) {
	f := newFake(t)
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { f.note("release") }))
	defer app.Close()
	e, stop := candidate(t, "a", func(e *Elector) { e.App.Release = app.URL }, f.url)
	await(t, "owner", owns(e))
	stop()
	if log := strings.Join(f.log(), " "); log != "grant take release revoke" {
		t.Error(log)
	}
	if told := e.Told(); told.Owner || f.token() != 0 {
		t.Errorf("%+v, and the store has %d", told, f.token())
	}
	if s := e.Status(); len(s.Terms) != 1 || s.Terms[0].Why != whyStopped || s.Terms[0].Ended.IsZero() {
		t.Errorf("%+v", s.Terms)
	}
}

// TestTakenOut: somebody takes the key out by hand. The lease goes on, and is none of an owner's.
func TestTakenOut(t *testing.T) {
	f := newFake(t)
	e, _ := candidate(t, "a", nil, f.url)
	await(t, "owner", owns(e))
	f.remove()
	await(t, "end of the term", func() bool { s := e.Status(); return len(s.Terms) > 0 && s.Terms[0].Why == whyLost })
	await(t, "owner again", owns(e))
}

func TestApp(t *testing.T) {
	f := newFake(t)
	var bad atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if bad.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer app.Close()
	a, _ := candidate(t, "a", func(e *Elector) { e.App.URL = app.URL }, f.url)
	await(t, "owner", owns(a))
	b, _ := candidate(t, "b", nil, f.url)
	bad.Store(true)
	await(t, "another owner", owns(b))
	if s := a.Status(); len(s.Terms) != 1 || s.Terms[0].Why != whyApp {
		t.Errorf("%+v", s.Terms)
	}
	// While its app is not well it does not try.
	b.Handover(150 * time.Millisecond)
	await(t, "nobody", func() bool { return f.token() == 0 })
	await(t, "the second again", owns(b))
	if s := a.Status(); len(s.Terms) != 1 {
		t.Errorf("%+v", s.Terms)
	}
}

func TestOnce(t *testing.T) {
	f := newFake(t)
	a, stop := candidate(t, "a", nil, f.url)
	await(t, "owner", owns(a))
	b, _ := candidate(t, "b", func(e *Elector) { e.Once = true }, f.url)
	await(t, "follower", func() bool { return b.Told().Holder != nil })
	time.Sleep(30 * time.Millisecond) // it has looked
	stop()
	await(t, "nobody", func() bool { h := b.Told().Holder; return h == nil })
	time.Sleep(100 * time.Millisecond)
	if b.Told().Owner {
		t.Error("it has tried again")
	}
}

// TestNextMember: one that does not answer, and one that cannot be reached, are passed over.
func TestNextMember(t *testing.T) {
	f, frozen := newFake(t), newFake(t)
	frozen.freeze(true)
	e, _ := candidate(t, "a", func(e *Elector) { e.Store.Client.Timeout = 200 * time.Millisecond }, "http://127.0.0.1:1", frozen.url, f.url)
	await(t, "owner", owns(e))
	token := e.Told().Token
	for range 50 {
		if told := e.Told(); !told.Owner || told.Token != token {
			t.Fatalf("%+v", told)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestTells(t *testing.T) {
	f := newFake(t)
	path := filepath.Join(t.TempDir(), "owner.json")
	a, _ := candidate(t, "a", func(e *Elector) { e.StatePath = path }, f.url)
	await(t, "owner", owns(a))
	b, _ := candidate(t, "b", nil, f.url)
	await(t, "follower", func() bool { return b.Told().Holder != nil })
	srvA, srvB := httptest.NewServer(a.Server().Handler), httptest.NewServer(b.Server().Handler)
	defer srvA.Close()
	defer srvB.Close()
	get := func(url string) (*http.Response, Told) {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var told Told
		if err := json.NewDecoder(resp.Body).Decode(&told); err != nil {
			t.Fatal(err)
		}
		return resp, told
	}
	resp, told := get(srvA.URL + "/owner")
	if resp.StatusCode != 200 || resp.Header.Get("Fencing-Token") == "" || !told.Owner || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v %+v", resp.Status, resp.Header, told)
	}
	resp, told = get(srvB.URL + "/owner")
	if resp.StatusCode != 421 || resp.Header.Get("Owner-Address") != "a:8080" || told.Owner || resp.Header.Get("Fencing-Token") != "" {
		t.Errorf("%s %v %+v", resp.Status, resp.Header, told)
	}
	if resp, _ = get(srvB.URL + "/"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	read := func() (told Told) {
		text, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(text, &told) != nil {
			t.Fatalf("%q, %v", text, err)
		}
		return told
	}
	await(t, "the file", func() bool { told = read(); return told.Owner })
	if told.Token != a.Told().Token || time.Until(told.Until) > 7*time.Second {
		t.Errorf("%+v", told)
	}
	a.Handover(time.Minute)
	await(t, "the other", owns(b))
	await(t, "the file's saying so", func() bool { told := read(); return !told.Owner && told.Holder != nil && told.Holder.ID == "b" })
	for _, bad := range []string{"x", "-1s", "2h"} {
		rec := httptest.NewRecorder()
		a.serveHandover(rec, httptest.NewRequest("POST", "/handover?hold="+bad, nil))
		if rec.Code != 400 {
			t.Errorf("hold=%s: %d", bad, rec.Code)
		}
	}
}

func TestCheck(t *testing.T) {
	good := config{
		Election: "ledger", ID: "node-a", Address: "node-a:80", Endpoints: []string{"http://etcd:2379"},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
	}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(*config)
		want   string
	}{
		{func(c *config) { c.Election = "../x" }, "ELECTION="},
		{func(c *config) { c.ID = "A b" }, "ID="},
		{func(c *config) { c.Address = "node-a" }, "ADDRESS="},
		{func(c *config) { c.Endpoints = []string{"etcd:2379"} }, "ETCD_ENDPOINTS"},
		{func(c *config) { c.Endpoints = nil }, "ETCD_ENDPOINTS"},
		{func(c *config) { c.AppURL = "localhost" }, "APP_URL"},
		{func(c *config) { c.LeaseDuration = 15500 * time.Millisecond }, "LEASE_DURATION"},
		{func(c *config) { c.RenewDeadline = 15 * time.Second }, "RENEW_DEADLINE"},
		{func(c *config) { c.RetryPeriod = 9 * time.Second }, "RENEW_DEADLINE"},
	} {
		c := good
		c.Endpoints = slices.Clone(c.Endpoints)
		tt.change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}

const key = "/elections/test/owner"

// What etcd 3.5 answers.
const (
	emptyRange = `{"header":{"cluster_id":"1","member_id":"2","revision":"7","raft_term":"2"}}`
	oneRange   = `{"header":{"revision":"9"},"kvs":[{"key":"L2VsZWN0aW9ucy90ZXN0L293bmVy","create_revision":"8","mod_revision":"8","version":"1","value":"eyJpZCI6ImEiLCJhZGRyZXNzIjoiYTo4MDgwIiwidGVybSI6IjEwMSJ9","lease":"101"}],"count":"1"}`
	taken      = `{"header":{"revision":"8"},"succeeded":true,"responses":[{"response_put":{"header":{"revision":"8"}}},{"response_range":{"header":{"revision":"8"},"kvs":[{"key":"L2VsZWN0aW9ucy90ZXN0L293bmVy","create_revision":"8","mod_revision":"8","version":"1","value":"eyJpZCI6ImEifQ==","lease":"101"}],"count":"1"}}]}`
)

func TestParse(t *testing.T) {
	h, err := parseRange([]byte(emptyRange), key)
	if err != nil || h.ID != "" || h.revision != 7 {
		t.Errorf("%+v, %v", h, err)
	}
	h, err = parseRange([]byte(oneRange), key)
	if err != nil || h.ID != "a" || h.Token != 8 || h.lease != "101" || h.Address != "a:8080" || h.revision != 9 {
		t.Errorf("%+v, %v", h, err)
	}
	h, err = parseTxn([]byte(taken), key)
	if err != nil || h.ID != "a" || h.Token != 8 || h.lease != "101" {
		t.Errorf("%+v, %v", h, err)
	}
	// What somebody has written by hand is taken, all the same.
	h, err = parseRange([]byte(strings.Replace(oneRange, "eyJpZCI6ImEiLCJhZGRyZXNzIjoiYTo4MDgwIiwidGVybSI6IjEwMSJ9", "eA==", 1)), key)
	if err != nil || h.ID != "unknown" || h.Token != 8 {
		t.Errorf("%+v, %v", h, err)
	}
	for _, bad := range []string{
		"", "{}", "[]", `{"header":{"revision":"x"}}`, `{"header":{"revision":"-1"}}`,
		strings.Replace(oneRange, `"create_revision":"8"`, `"create_revision":"10"`, 1), // of the future
		strings.Replace(oneRange, `"create_revision":"8",`, "", 1),
		strings.Replace(oneRange, "L2VsZWN0aW9ucy90ZXN0L293bmVy", "eA==", 1),
	} {
		if h, err := parseRange([]byte(bad), key); err == nil {
			t.Errorf("%s: %+v", bad, h)
		}
	}
	for _, bad := range []string{"", "{}", emptyRange, `{"header":{"revision":"8"},"responses":[{"response_put":{}}]}`, `{"header":{"revision":"8"},"responses":[{"response_range":{}}]}`} {
		if h, err := parseTxn([]byte(bad), key); err == nil {
			t.Errorf("%s: %+v", bad, h)
		}
	}
}

// FuzzParse: whatever comes for etcd's answer, a holder has a token above 0 that is no newer than the store.
func FuzzParse(f *testing.F) {
	for _, s := range []string{emptyRange, oneRange, taken} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, parse := range []func([]byte, string) (Holder, error){parseRange, parseTxn} {
			h, err := parse(body, key)
			if err == nil && h.ID != "" && (h.Token <= 0 || h.Token > h.revision || !names.Plain(h.ID)) {
				t.Errorf("%+v", h)
			}
		}
	})
}
