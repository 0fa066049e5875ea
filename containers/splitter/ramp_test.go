package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newRamps(t *testing.T, arms ...string) *Ramps {
	t.Helper()
	l := newLive(t, "")
	var specs []ArmSpec
	for _, a := range arms {
		specs = append(specs, armSpec(a))
	}
	check(t, l.Start(specs))
	r := &Ramps{Live: l, Log: slog.New(slog.DiscardHandler)}
	l.Splitter.Observe = r.Observe
	return r
}

// world is what two arms do in a simulation: by time, from 0 to 1.
type world struct {
	errors  func(at float64, experiment bool) float64
	latency func(at float64, experiment bool) float64 // median, seconds
}

// steady is a world in which the experiment is as good as production, and
// both have a bad time in between.
func steady(at float64) (errors, latency float64) {
	return 0.01 + 0.04*math.Sin(at*math.Pi), 0.05 * (1 + at)
}

// simulate runs a whole ramp of 50 looks, with 200 requests between two, and
// says how it ended.
func simulate(t *testing.T, w world, random *rand.Rand) (state string, look int) {
	t.Helper()
	r := newRamps(t, "production=http://web weight=99 max_fails=0", "experiment=http://exp weight=0 max_fails=0")
	ramp, err := r.prepare(RampPlan{
		Arm: "experiment", From: 1, To: 50, Over: jsonDuration(time.Hour), Looks: 50, Alpha: 0.05, Least: 2,
	})
	check(t, err)
	for {
		at := float64(ramp.look) / 50
		for range 200 {
			d := r.Live.Splitter.Decide(&Facts{Header: http.Header{}})
			o := Outcome{Kind: Good, Status: 200}
			if random.Float64() < w.errors(at, d.Arm == ramp.experiment) {
				o.Status = 500
			}
			median := w.latency(at, d.Arm == ramp.experiment)
			o.Took = time.Duration(median * math.Exp(random.NormFloat64()/2) * float64(time.Second))
			r.Live.Splitter.Done(d.Arm, o)
		}
		if !ramp.tick() {
			return ramp.state, ramp.look
		}
	}
}

// TestRampSimulated measures the two promises of a ramp: one of a good
// experiment is undone no more often than alpha says, whatever the time of
// day does to both arms, and one of a bad experiment is undone.
func TestRampSimulated(t *testing.T) {
	worse := func(errors, latency float64) world {
		return world{
			func(at float64, experiment bool) float64 {
				e, _ := steady(at)
				if experiment {
					e += errors
				}
				return e
			},
			func(at float64, experiment bool) float64 {
				_, l := steady(at)
				if experiment {
					l *= 1 + latency
				}
				return l
			},
		}
	}
	tests := []struct {
		name        string
		world       world
		ramps       int
		least, most int // of them undone
	}{
		// 14 or more of 100 at 5 % each have a chance of 1 in 2,000.
		{"as good", worse(0, 0), 100, 0, 13},
		{"better", worse(-0.01, -0.2), 20, 0, 1},
		{"errors 5 points up", worse(0.05, 0), 20, 20, 20},
		{"a third slower", worse(0, 0.33), 20, 20, 20},
		{"broken", worse(0.9, 0), 10, 10, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(42, 1))
			undone, looks := 0, 0
			for range tt.ramps {
				state, look := simulate(t, tt.world, random)
				if state == "rolled_back" {
					undone++
					looks += look
				} else if state != "done" {
					t.Fatalf("ended %s", state)
				}
			}
			t.Logf("%d of %d undone, on average at look %d of 50", undone, tt.ramps, looks/max(undone, 1))
			if undone < tt.least || undone > tt.most {
				t.Errorf("%d of %d undone, want %d to %d", undone, tt.ramps, tt.least, tt.most)
			}
		})
	}
}

// works takes up to 5 ms, and more.
func works(more time.Duration) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) {
		time.Sleep(more + rand.N(5*time.Millisecond))
	}
}

// Over real arms: the share grows to its end, or goes back to what it was.
func TestRamp(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string
		weight  int // of the experiment, in the end
	}{
		{"good", works(0), "done", 5000},
		{"errors", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "rolled_back", 0},
		{"slow", works(20 * time.Millisecond), "rolled_back", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := startArm(t, "production", works(0)), startArm(t, "experiment", tt.handler)
			ramps := newRamps(t, "production=http://"+a.addr+" weight=1", "experiment=http://"+b.addr+" weight=0")
			s := start(t, ramps.Live.Splitter.Specs(), func(p *Proxy) {
				p.Splitter = ramps.Live.Splitter
				p.Splitter.Rules.Sticky = Sticky{Kind: "none"}
			})
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 4 {
				c := client(t)
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if resp, err := c.Get(s.url("/")); err == nil {
							resp.Body.Close()
						}
					}
				})
			}
			check(t, ramps.Start(t.Context(), RampPlan{
				Arm: "experiment", From: 10, To: 50, Over: jsonDuration(200 * time.Millisecond), Looks: 10, Alpha: 0.001, Least: 10,
			}))
			eventually(t, "the ramp ends", func() bool { return ramps.Status().State == tt.want })
			close(stop)
			wg.Wait()
			status := ramps.Status()
			if got := weightsOf(ramps.Live.Splitter)["experiment"]; got != tt.weight {
				t.Errorf("weight %d, want %d: %+v", got, tt.weight, status)
			}
			if tt.want == "rolled_back" && !strings.Contains(status.Reason, "p = ") {
				t.Errorf("reason %q", status.Reason)
			}
		})
	}
}

func TestRampEnds(t *testing.T) {
	plan := RampPlan{Arm: "experiment", From: 1, To: 50, Over: jsonDuration(time.Hour)}
	arms := []string{"production=http://web weight=9", "experiment=http://exp weight=1"}

	r := newRamps(t, arms...)
	ramp, err := r.prepare(plan)
	check(t, err)
	check(t, r.Live.Change("test", func(a []ArmSpec) ([]ArmSpec, error) { return withWeights(a, map[string]int{"experiment": 7}) }))
	for range ramp.Plan.Least * 2 {
		ramp.observe(ramp.experiment, Outcome{Kind: Good})
		ramp.observe(ramp.control, Outcome{Kind: Good})
	}
	if ramp.tick() || r.Status().State != "stopped" || weightsOf(r.Live.Splitter)["experiment"] != 7 {
		t.Errorf("somebody else's change: %+v", r.Status())
	}

	r = newRamps(t, arms...)
	ramp, err = r.prepare(plan)
	check(t, err)
	if !ramp.tick() || r.Status().State != "waiting" {
		t.Errorf("without requests: %+v", r.Status())
	}
	r.Live.Splitter.Health(ramp.experiment, false)
	for range awayTicks - 1 {
		if !ramp.tick() {
			t.Errorf("at once: %+v", r.Status())
		}
	}
	if ramp.tick() || r.Status().State != "rolled_back" || weightsOf(r.Live.Splitter)["experiment"] != 1 {
		t.Errorf("out of service: %+v", r.Status())
	}

	r = newRamps(t, arms...)
	check(t, r.Start(t.Context(), plan))
	if err := r.Start(t.Context(), plan); err != errRunning {
		t.Errorf("a second one: %v", err)
	}
	check(t, r.Stop(false))
	if got := weightsOf(r.Live.Splitter); r.Status().State != "stopped" || got["experiment"] != 100 {
		t.Errorf("stopped: %+v, %v", r.Status(), got)
	}
	check(t, r.Start(t.Context(), plan))
	check(t, r.Stop(true))
	if got := weightsOf(r.Live.Splitter); r.Status().State != "rolled_back" || got["experiment"] != 100 {
		t.Errorf("undone: %+v, %v", r.Status(), got)
	}
}

// Whoever a cookie has put into an experiment that went back is free.
func TestRampEvicts(t *testing.T) {
	r := newRamps(t, "production=http://web weight=1", "experiment=http://exp weight=1")
	s := r.Live.Splitter
	s.Rules.Sticky = Sticky{Kind: "cookie", Cookie: "split"}
	s.Set(s.Specs())
	facts := &Facts{Header: http.Header{"Cookie": {"split=experiment"}}}
	if d := s.Decide(facts); d.Reason != ByCookie || d.Arm.Name != "experiment" {
		t.Fatalf("before: %+v", d)
	}
	check(t, r.Start(t.Context(), RampPlan{Arm: "experiment", From: 1, To: 50, Over: jsonDuration(time.Hour)}))
	check(t, r.Stop(true))
	if d := s.Decide(facts); d.Reason == ByCookie {
		t.Errorf("after: %+v", d)
	}
}

func TestRampAdmin(t *testing.T) {
	r := newRamps(t, "production=http://web weight=9", "experiment=http://exp weight=1")
	mux := http.NewServeMux()
	(&Admin{Splitter: r.Live.Splitter, Live: r.Live, Ramps: r, Context: t.Context(), Token: "t"}).Register(mux.Handle)
	srv := startArm(t, "admin", mux.ServeHTTP).srv
	good := `{"arm": "experiment", "from": 1, "to": 50, "over": "10m"}`
	for _, tt := range []struct {
		body, token string
		want        int
	}{
		{good, "", 401},
		{`{"arm": "other", "from": 1, "to": 50, "over": "10m"}`, "t", 400},
		{`{"arm": "experiment", "control": "experiment", "from": 1, "to": 50, "over": "10m"}`, "t", 400},
		{`{"arm": "experiment", "from": 0, "to": 50, "over": "10m"}`, "t", 400},
		{`{"arm": "experiment", "from": 60, "to": 50, "over": "10m"}`, "t", 400},
		{`{"arm": "experiment", "from": 1, "to": 100, "over": "10m"}`, "t", 400},
		{`{"arm": "experiment", "from": 1, "to": 50}`, "t", 400},
		{`{"arm": "experiment", "from": 1, "to": 50, "over": "10"}`, "t", 400},
		{`{"arm": "experiment", "from": 1, "to": 50, "over": "10m", "alpha": 2}`, "t", 400},
		{`{"arm": "experiment", "from": 1, "to": 50, "over": "10m", "what": 2}`, "t", 400},
	} {
		if code, text := ask(t, "POST", srv.URL+"/ramp", tt.body, tt.token); code != tt.want {
			t.Errorf("%s: %d %s", tt.body, code, text)
		}
	}
	if code, _ := ask(t, "GET", srv.URL+"/ramp", "", ""); code != 404 {
		t.Errorf("none: %d", code)
	}
	code, text := ask(t, "POST", srv.URL+"/ramp", good, "t")
	var status RampStatus
	check(t, json.Unmarshal([]byte(text), &status))
	if code != 200 || status.State != "running" || status.Plan.Control != "production" || status.Looks != 100 {
		t.Errorf("%d %s", code, text)
	}
	if code, _ := ask(t, "POST", srv.URL+"/ramp", good, "t"); code != 409 {
		t.Errorf("a second one: %d", code)
	}
	if code, _ := ask(t, "DELETE", srv.URL+"/ramp?back=true", "", "t"); code != 200 {
		t.Errorf("stop: %d", code)
	}
	if diff := cmp.Diff(map[string]int{"production": 9, "experiment": 1}, weightsOf(r.Live.Splitter)); diff != "" {
		t.Error(diff)
	}
}

func TestWithShare(t *testing.T) {
	arms := func() []ArmSpec {
		return []ArmSpec{armSpec("a=http://a weight=3"), armSpec("x=http://x weight=0"), armSpec("b=http://b weight=1"), armSpec("off=http://o weight=0")}
	}
	for _, tt := range []struct {
		percent float64
		coarse  bool
		want    string
	}{
		{1, false, "7425 100 2475 0"}, {50, false, "3750 5000 1250 0"}, {0.01, false, "7499 1 2499 0"}, {0.1, true, "74 1 24 0"},
	} {
		var got []string
		for _, a := range withShare(arms(), "x", tt.percent, tt.coarse) {
			got = append(got, fmt.Sprint(a.Weight))
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("%v %%: %s, want %s", tt.percent, g, tt.want)
		}
	}
}
