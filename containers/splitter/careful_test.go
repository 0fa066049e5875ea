package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// carefully has the proxies of the tests do without the fast path.
var carefully atomic.Bool

// TestWithoutTheFastPath holds the careful path to the same, for the others run
// with both.
func TestWithoutTheFastPath(t *testing.T) {
	carefully.Store(true)
	t.Cleanup(func() { carefully.Store(false) })
	for name, test := range map[string]func(*testing.T){
		"SlowClients":            TestSlowClients,
		"MaxConnections":         TestMaxConnections,
		"MaxRequests":            TestMaxRequests,
		"LiveFile":               TestLiveFile,
		"Weights":                TestWeights,
		"StickyCookie":           TestStickyCookie,
		"StickyFallback":         TestStickyFallback,
		"StickyHeaderAndAddress": TestStickyHeaderAndAddress,
		"Override":               TestOverride,
		"OverrideStrips":         TestOverrideStrips,
		"ExperimentDown":         TestExperimentDown,
		"RetrySafety":            TestRetrySafety,
		"RetryBudget":            TestRetryBudget,
		"Reweight":               TestReweight,
		"Forwarded":              TestForwarded,
		"Upgrade":                TestUpgrade,
		"H2C":                    TestH2C,
		"Drain":                  TestDrain,
		"Ramp":                   TestRamp,
		"RampEvicts":             TestRampEvicts,
		"NoContentType":          TestNoContentType,
	} {
		t.Run(name, test)
	}
}

// TestNoContentType: what an arm does not say is not guessed for it.
func TestNoContentType(t *testing.T) {
	s := start(t, startWireArm(t).spec(), nil)
	got := s.do(t, client(t), "GET", "/", "")
	if types, said := got.header["Content-Type"]; said || got.body != "ok" {
		t.Errorf("body %q, Content-Type %q", got.body, types)
	}
}

// TestFastPathIsTaken: plain exchanges stay on it, with all that is said and
// counted; what is left to the careful path is decided once.
func TestFastPathIsTaken(t *testing.T) {
	good := startArm(t, "good", nil)
	var failing atomic.Bool
	flaky := startArm(t, "flaky", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if failing.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "flaky")
	})
	s := start(t, []ArmSpec{good.spec("max_fails=0"), flaky.spec("max_fails=0")}, nil)
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	ask := func(method string, body io.Reader) string {
		t.Helper()
		resp := must(c.Do(must(http.NewRequest(method, "http://"+s.addr+"/", body))))
		defer resp.Body.Close()
		text := string(must(io.ReadAll(resp.Body)))
		if name := resp.Header.Get("X-Split-Arm"); name != text {
			t.Errorf("%q says that it is of %q", text, name)
		}
		return resp.Status[:3] + " " + text
	}
	for range 10 {
		ask("GET", nil)
		ask("POST", strings.NewReader(strings.Repeat("x", 300<<10)))
	}
	// A client has its answer before it is counted.
	eventually(t, "all 20 plain requests were on the fast path", func() bool { return s.metric(t, "fast_requests_total") == 20 })
	if a, b := good.seen.Load(), flaky.seen.Load(); a != 10 || b != 10 {
		t.Errorf("split %d to %d", a, b)
	}
	// A failure is tried again, by the careful path, and each arm is counted
	// once for each time that it was asked.
	failing.Store(true)
	for range 4 {
		if got := ask("GET", nil); got != "200 good" {
			t.Errorf("got %q", got)
		}
	}
	eventually(t, "nothing is in flight", func() bool { return s.Engine().InFlight() == 0 })
	decided := 0.0
	for _, arm := range []string{"good", "flaky"} {
		for _, reason := range []string{"smooth", "retry"} {
			decided += s.metric(t, "decisions_total", "arm="+arm, "reason="+reason)
		}
		eventually(t, "nothing is in flight at "+arm, func() bool { return s.metric(t, "arm_in_flight", "arm="+arm) == 0 })
	}
	if asked := float64(good.seen.Load() + flaky.seen.Load()); decided != asked {
		t.Errorf("%v decisions, %v requests to the arms", decided, asked)
	}
	if n := s.metric(t, "arm_failures_total", "arm=flaky", "reason=status"); n == 0 || n != s.metric(t, "retries_total", "arm=flaky") {
		t.Errorf("%v failures", n)
	}
}

// TestFastPathFailures: an arm that breaks off counts as failed on the fast
// path, too, and a client that leaves as one that left.
func TestFastPathFailures(t *testing.T) {
	arm := startArm(t, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	var outcomes atomic.Value
	s := start(t, []ArmSpec{arm.spec("")}, func(p *Proxy) {
		p.Splitter.Observe = func(_ *Arm, o Outcome) { outcomes.Store(o) }
	})
	resp, err := http.Get("http://" + s.addr)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("an answer that was cut looks whole")
	}
	eventually(t, "the arm is told", func() bool {
		o, ok := outcomes.Load().(Outcome)
		return ok && o.Kind == Failed && o.Status == 200
	})
	if n := s.metric(t, "arm_failures_total", "arm=a", "reason=broken"); n != 1 {
		t.Errorf("counted %v failures", n)
	}
	eventually(t, "it was on the fast path", func() bool { return s.metric(t, "fast_requests_total") == 1 })
}
