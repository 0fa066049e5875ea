package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func until(n int64) []int64 {
	var list []int64
	for i := range n {
		list = append(list, i)
	}
	return list
}

func TestEveryEntryOnce(t *testing.T) {
	f := startRedis(t, nil)
	r := start(t, f, nil)
	r.polls(t, 2) // an empty log is fine
	for i := range 20 {
		f.slow("GET", fmt.Sprint(i))
		if i%5 == 0 {
			r.polls(t, 2)
		}
	}
	r.lines(t, 20)
	r.polls(t, 3)
	lines := r.lines(t, 20)
	if diff := cmp.Diff(until(20), ids(lines)); diff != "" { // 0 too
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
	us, id, client, name := int64(20003), int64(3), "10.0.0.7:4242", "worker"
	want := line{
		Time: "2023-11-14T22:13:23Z", Event: "slow", ID: &id, DurationUS: &us, Args: []string{"GET", "3"},
		Client: &client, ClientName: &name, RunID: strings.Repeat("a", 40),
	}
	if diff := cmp.Diff(want, lines[3]); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	if n := f.did("SLOWLOG", "RESET"); n != 0 {
		t.Errorf("SLOWLOG RESET was called %d times", n)
	}
	if ok, reason := r.readiness(); !ok {
		t.Errorf("unready: %s", reason)
	}
}

func TestOwnCommandsAreLeftOut(t *testing.T) {
	for name, change := range map[string]func(*fakeRedis){
		"by name":         func(f *fakeRedis) { f.ownEvery = true },
		"by address":      func(f *fakeRedis) { f.ownEvery, f.noClient = true, true },
		"by the commands": func(f *fakeRedis) { f.ownEvery, f.four = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			f := startRedis(t, change)
			r := start(t, f, nil)
			r.polls(t, 5)
			f.slow("SLOWLOG", "GET")
			lines := r.lines(t, 1)
			r.polls(t, 3)
			if got := len(r.lines(t, 1)); got != 1 || lines[0].Args[1] != "GET" || len(lines[0].Args) != 2 {
				t.Errorf("wrote %d lines:\n%s", got, r.out)
			}
			if s := r.Status(); s.Own < 5 || s.Lost != 0 {
				t.Errorf("%d own, %d lost", s.Own, s.Lost)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	f := startRedis(t, nil)
	r := start(t, f, nil)
	for range 5 {
		f.slow("GET", "old")
	}
	r.lines(t, 5)
	f.restart()
	f.slow("GET", "new")
	f.slow("GET", "new")
	lines := r.lines(t, 8)
	told := lines[5]
	if told.Event != "restart" || told.OldRunID != strings.Repeat("a", 40) || *told.LastID != 4 || told.RunID != strings.Repeat("b", 40) {
		t.Errorf("wrote %+v", told)
	}
	if diff := cmp.Diff([]int64{0, 1}, ids(lines[6:])); diff != "" {
		t.Errorf("IDs after the restart (-want +got):\n%s", diff)
	}
	if s := r.Status(); s.Restarts != 1 || s.Lost != 0 {
		t.Errorf("%d restarts, %d lost", s.Restarts, s.Lost)
	}
}

// What was made and thrown away between a restart and the first poll after it is known to be lost: its IDs begin at 0.
func TestRestartAndOverflow(t *testing.T) {
	f := startRedis(t, func(f *fakeRedis) { f.maxLen = 4 })
	r := start(t, f, nil)
	f.slow("GET", "old")
	r.lines(t, 1)
	f.stop()
	f.mu.Lock()
	f.runID, f.log, f.next = strings.Repeat("b", 40), nil, 0
	f.mu.Unlock()
	for range 10 {
		f.slow("GET", "new")
	}
	f.start()
	lines := r.lines(t, 7)
	if l := lines[2]; l.Event != "lost" || *l.Lost != 6 || *l.FirstID != 0 || *l.LastID != 5 || l.Reason != overflow {
		t.Errorf("wrote %+v", l)
	}
	if diff := cmp.Diff([]int64{6, 7, 8, 9}, ids(lines[2:])); diff != "" {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
}

// The same IDs start over behind an address whose run ID does not change: a proxy's.
func TestIDsStartOver(t *testing.T) {
	f := startRedis(t, nil)
	r := start(t, f, nil)
	for range 5 {
		f.slow("GET", "old")
	}
	r.lines(t, 5)
	f.mu.Lock()
	f.log, f.next = nil, 0
	f.add("x", "", "GET", "new")
	f.mu.Unlock()
	lines := r.lines(t, 7)
	if lines[5].Event != "restart" || *lines[6].ID != 0 {
		t.Errorf("wrote\n%s", r.out)
	}
}

func TestOverflow(t *testing.T) {
	hang := make(chan struct{})
	f := startRedis(t, nil)
	r := start(t, f, nil)
	f.slow("GET", "first")
	r.lines(t, 1)
	f.mu.Lock()
	f.hang = hang // a poll is under way, and stays so
	f.mu.Unlock()
	asked := f.did("SLOWLOG")
	await(t, "a poll that hangs", func() bool { return f.did("SLOWLOG") > asked })
	for range 200 {
		f.slow("GET", "burst")
	}
	f.mu.Lock()
	f.hang = nil
	f.mu.Unlock()
	close(hang)
	lines := r.lines(t, 130)
	if l := lines[1]; l.Event != "lost" || *l.Lost != 72 || *l.FirstID != 1 || *l.LastID != 72 || l.Reason != overflow {
		t.Errorf("wrote %+v", l)
	}
	if got := ids(lines[1:]); len(got) != 128 || got[0] != 73 || got[127] != 200 {
		t.Errorf("IDs %v", got)
	}
	r.polls(t, 2)
	if got := r.metric(t, "lost_total", overflow); got != 72 || r.Status().Lost != 72 {
		t.Errorf("%v lost in the metric, %d in the status", got, r.Status().Lost)
	}
}

// A log that holds more than one reply asks for is read whole, up to MAX_ENTRIES; what lies beyond is lost, and said.
func TestLongLog(t *testing.T) {
	for _, tt := range []struct {
		max     int
		entries int
		lost    int64
	}{{1024, 1000, 0}, {512, 1000, 488}} {
		hang := make(chan struct{})
		f := startRedis(t, func(f *fakeRedis) { f.maxLen = 2000 })
		r := start(t, f, func(a *Adapter) { a.MaxEntries = tt.max })
		r.polls(t, 1)
		f.mu.Lock()
		f.hang = hang
		f.mu.Unlock()
		asked := f.did("SLOWLOG")
		await(t, "a poll that hangs", func() bool { return f.did("SLOWLOG") > asked })
		for range tt.entries {
			f.slow("GET", "burst")
		}
		f.mu.Lock()
		f.hang = nil
		f.mu.Unlock()
		close(hang)
		await(t, "the newest", func() bool { return r.Status().LastID == int64(tt.entries-1) })
		if s := r.Status(); s.Lost != tt.lost || s.Written != int64(tt.entries)-tt.lost {
			t.Errorf("at most %d: %d written, %d lost, want %d lost", tt.max, s.Written, s.Lost, tt.lost)
		}
		if tt.lost > 0 && !strings.Contains(r.out.String(), `"reason":"limit"`) {
			t.Errorf("the reason is not told:\n%.500s", r.out)
		}
	}
}

// Somebody else's RESET leaves IDs going on: no replay, and what was thrown away unread is counted.
func TestSomeoneElseResets(t *testing.T) {
	f := startRedis(t, nil)
	r := start(t, f, nil)
	f.slow("GET", "a")
	r.lines(t, 1)
	f.mu.Lock()
	f.log = nil
	f.mu.Unlock()
	r.polls(t, 3)
	f.mu.Lock()
	f.next += 2 // made and reset between two polls
	f.add("x", "", "GET", "b")
	f.mu.Unlock()
	lines := r.lines(t, 3)
	if lines[1].Event != "lost" || *lines[1].Lost != 2 || *lines[2].ID != 3 {
		t.Errorf("wrote\n%s", r.out)
	}
}

func TestRedisAwayIsSaidOnce(t *testing.T) {
	f := startRedis(t, nil)
	r := start(t, f, nil)
	f.slow("GET", "a")
	r.lines(t, 1)
	f.stop()
	await(t, "failed polls", func() bool { return r.Status().Failed >= 3 })
	if ok, reason := r.readiness(); ok || !strings.HasPrefix(reason, "redis: ") {
		t.Errorf("ready %t, %q", ok, reason)
	}
	if s := r.Status(); s.Up || s.Error == "" || s.LastPollAge < 0 {
		t.Errorf("status %+v", s)
	}
	f.slow("GET", "meanwhile") // the same process: only the way to it was cut
	f.start()
	lines := r.lines(t, 2)
	if diff := cmp.Diff([]int64{0, 1}, ids(lines)); diff != "" || len(lines) != 2 {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
	log := r.log.String()
	if strings.Count(log, "redis away") != 1 || strings.Count(log, "redis back") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// A Redis that accepts and never answers is away within the timeout.
func TestHungRedis(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	f := startRedis(t, func(f *fakeRedis) { f.hang = hang })
	r := start(t, f, func(a *Adapter) { a.Server.Timeout = 20 * time.Millisecond })
	await(t, "failed polls", func() bool { return r.Status().Failed >= 2 })
	if ok, reason := r.readiness(); ok || !strings.Contains(reason, "no answer within 20ms") {
		t.Errorf("ready %t, %q", ok, reason)
	}
}

func TestFirst(t *testing.T) {
	for _, skip := range []bool{false, true} {
		f := startRedis(t, nil)
		f.slow("GET", "before")
		r := start(t, f, func(a *Adapter) { a.SkipFirst = skip })
		r.polls(t, 1)
		f.slow("GET", "after")
		await(t, "the newest", func() bool { return r.Status().LastID == 1 })
		if got := strings.Contains(r.out.String(), "before"); got == skip {
			t.Errorf("skip %t: wrote\n%s", skip, r.out)
		}
		f.restart()
		f.slow("GET", "fresh")
		await(t, "what came after a restart", func() bool { return strings.Contains(r.out.String(), "fresh") })
	}
}

// At the end everything that is there is written, although the interval is not over.
func TestLastPoll(t *testing.T) {
	f := startRedis(t, nil)
	r := start(t, f, func(a *Adapter) { a.Interval = time.Hour })
	await(t, "the first poll", func() bool { return r.Status().Polls == 1 })
	f.slow("GET", "late")
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{0}, ids(r.lines(t, 1))); diff != "" {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
}

func TestEndWithoutRedis(t *testing.T) {
	f := startRedis(t, nil)
	f.stop()
	r := start(t, f, nil)
	await(t, "failed polls", func() bool { return r.Status().Failed >= 1 })
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

// What could not be written must not count as read.
func TestWriteFails(t *testing.T) {
	f := startRedis(t, nil)
	f.slow("GET", "a")
	broken := errors.New("broken pipe")
	r := start(t, f, func(a *Adapter) { a.Out = &sink{err: broken} })
	select {
	case err := <-r.done:
		if !errors.Is(err, broken) {
			t.Error(err)
		}
		r.done <- nil
	case <-time.After(patience):
		t.Fatal("goes on")
	}
	if s := r.Status(); s.LastID != -1 || s.Written != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestImitations(t *testing.T) {
	f := startRedis(t, nil)
	r := start(t, f, func(a *Adapter) { a.Reset = true })
	f.slow("GET", "a")
	r.lines(t, 1)
	await(t, "SLOWLOG RESET", func() bool { return f.did("SLOWLOG", "RESET") > 0 })

	f = startRedis(t, nil)
	r = start(t, f, func(a *Adapter) { a.IDOnly = true })
	for range 5 {
		f.slow("GET", "old")
	}
	r.lines(t, 5)
	f.restart()
	for range 5 {
		f.slow("GET", "mute")
	}
	r.polls(t, 3)
	f.slow("GET", "heard")
	await(t, "an ID above the old ones", func() bool { return strings.Contains(r.out.String(), "heard") })
	if out := r.out.String(); strings.Contains(out, "mute") || strings.Contains(out, "restart") {
		t.Errorf("wrote\n%s", out)
	}
}

func TestPace(t *testing.T) {
	a := &Adapter{Interval: 8 * time.Second, MinInterval: time.Second, Metrics: newMetrics(prometheus.NewRegistry())}
	many := func(n int) news { return news{entries: make([]Entry, n)} }
	for _, tt := range []struct {
		name string
		wait time.Duration
		n    news
		held int
		want time.Duration
	}{
		{"a quarter of the log is new", 8 * time.Second, many(32), 128, 4 * time.Second},
		{"not below the least", time.Second, many(128), 128, time.Second},
		{"something was lost", 8 * time.Second, news{entries: make([]Entry, 128), lost: 1}, 128, time.Second},
		{"a little is new", 4 * time.Second, many(20), 128, 4 * time.Second},
		{"hardly any", 2 * time.Second, many(1), 128, 3 * time.Second},
		{"not above the interval", 8 * time.Second, many(0), 128, 8 * time.Second},
		{"the first poll", 8 * time.Second, news{entries: make([]Entry, 128), started: true}, 128, 8 * time.Second},
		{"few in a short log", 8 * time.Second, many(3), 3, 8 * time.Second},
	} {
		if got := a.pace(tt.wait, tt.n, tt.held); got != tt.want {
			t.Errorf("%s: %s after %s, want %s", tt.name, got, tt.wait, tt.want)
		}
	}
}
