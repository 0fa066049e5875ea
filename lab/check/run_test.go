package check

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"distlab/lab/stats"
)

// TestVerdicts is the heart of it: what a claim says counts only when everything under it holds.
func TestVerdicts(t *testing.T) {
	stop := func(ctx context.Context, s *Stack) { s.Stop(ctx, "web") } // does not look whether it worked
	for _, c := range []struct {
		name    string
		engine  func(*fake)
		measure measure
		want    Verdict
		detail  string
	}{
		{"pass", nil, pass, Pass, ""},
		{"fail", nil, func(context.Context, *Stack) (Result, error) { return Decide(false, "2 of 3").Of(3), nil }, Fail, ""},
		{"inconclusive", nil, func(context.Context, *Stack) (Result, error) { return Unknown("no idea"), nil }, Inconclusive, "no idea"},
		{"error", nil, func(context.Context, *Stack) (Result, error) { return Decide(true, "ok").Of(3), errTest }, Inconclusive, errTest.Error()},
		{"error of a failure", nil, func(context.Context, *Stack) (Result, error) { return Decide(false, "no").Of(3), errTest }, Inconclusive, errTest.Error()},
		{"nothing said", nil, func(context.Context, *Stack) (Result, error) { return Result{Samples: 3}, nil }, Inconclusive, "no verdict"},
		{"unknown word", nil, func(context.Context, *Stack) (Result, error) { return Result{Verdict: "passed", Samples: 3}, nil }, Inconclusive, "no verdict"},
		{"no samples", nil, func(context.Context, *Stack) (Result, error) { return Decide(true, "all of none"), nil }, Inconclusive, "rests on no sample; it would have said: pass, all of none"},
		{"no samples for a failure", nil, func(context.Context, *Stack) (Result, error) { return Decide(false, "none"), nil }, Inconclusive, "no sample"},
		{"panic", nil, func(context.Context, *Stack) (Result, error) { panic("oh") }, Inconclusive, "panicked: oh"},
		{"panic of the statistics", nil, func(context.Context, *Stack) (Result, error) {
			return Decide(stats.BinomialTest(1, 0, 0.5) > stats.Alpha, "").Of(1), nil
		}, Inconclusive, "1 of 0"},
		{"goexit", nil, func(context.Context, *Stack) (Result, error) { runtime.Goexit(); return Result{}, nil }, Inconclusive, "without a result"},
		{"unhealthy lab", func(f *fake) { f.settled = func(context.Context) error { return errTest } }, pass, Inconclusive, "not healthy when the claim began: the test's error"},
		{"lab that never settles", func(f *fake) {
			f.settled = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}, pass, Inconclusive, "not healthy"},
		{"timeout", nil, func(ctx context.Context, _ *Stack) (Result, error) { <-ctx.Done(); return Result{}, ctx.Err() }, Inconclusive, "the claim took longer than 1m0s"},
		{"timeout told by its cause", nil, func(ctx context.Context, _ *Stack) (Result, error) {
			<-ctx.Done()
			return Result{}, context.Cause(ctx)
		}, Inconclusive, "the claim took longer than 1m0s"},
		{"too late", nil, func(ctx context.Context, _ *Stack) (Result, error) { <-ctx.Done(); return pass(ctx, nil) }, Inconclusive, "the claim took longer than 1m0s; it would have said: pass, 3 of 3"},
		{"fault", nil, func(ctx context.Context, s *Stack) (Result, error) { stop(ctx, s); return pass(ctx, s) }, Pass, ""},
		{"fault without effect, ignored", func(f *fake) { f.do = func(Action) error { return nil } }, func(ctx context.Context, s *Stack) (Result, error) {
			stop(ctx, s)
			return pass(ctx, s)
		}, Inconclusive, "stop lab-web-1: the fault had no effect; it would have said: pass"},
		{"fault without effect, told", func(f *fake) { f.do = func(Action) error { return nil } }, func(ctx context.Context, s *Stack) (Result, error) {
			_, err := s.Stop(ctx, "web")
			if !errors.Is(err, ErrNoEffect) {
				t.Errorf("error %v", err)
			}
			return Result{}, err
		}, Inconclusive, `before and during it was "running"`},
		{"fault not done, ignored", func(f *fake) { f.do = func(Action) error { return errTest } }, func(ctx context.Context, s *Stack) (Result, error) {
			stop(ctx, s)
			return pass(ctx, s)
		}, Inconclusive, "stop lab-web-1: the fault had no effect"},
		{"fault not seen, ignored", nil, func(ctx context.Context, s *Stack) (Result, error) {
			first := true
			s.Stop(ctx, "web", Seen(func(context.Context) (string, error) {
				if first {
					first = false
					return "200", nil
				}
				return "", errTest
			}))
			return pass(ctx, s)
		}, Inconclusive, "no effect"},
		{"fault without effect does not hide a broken one", func(f *fake) { f.do = func(Action) error { return nil } }, func(ctx context.Context, s *Stack) (Result, error) {
			stop(ctx, s)
			return Decide(false, "2 of 3").Of(3), nil
		}, Inconclusive, "it would have said: fail, 2 of 3"},
		{"failing heal", func(f *fake) { f.undo = func(context.Context, Action) error { return errTest } }, func(ctx context.Context, s *Stack) (Result, error) {
			stop(ctx, s)
			return pass(ctx, s)
		}, Inconclusive, "clean up: heal stop lab-web-1: the test's error"},
		{"failing heal after a failure", func(f *fake) { f.undo = func(context.Context, Action) error { return errTest } }, func(ctx context.Context, s *Stack) (Result, error) {
			stop(ctx, s)
			return Decide(false, "2 of 3").Of(3).Because("why"), nil
		}, Fail, "why\nclean up: heal stop lab-web-1: the test's error"},
		{"heal that never ends", func(f *fake) { f.undo = func(ctx context.Context, _ Action) error { <-ctx.Done(); return ctx.Err() } }, func(ctx context.Context, s *Stack) (Result, error) {
			stop(ctx, s)
			return pass(ctx, s)
		}, Inconclusive, "clean up: heal stop lab-web-1: context deadline exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				if c.engine != nil {
					c.engine(f)
				}
				got := judge(t, t.Context(), f, c.measure)
				if got.Verdict != c.want || !strings.Contains(got.Detail, c.detail) || c.detail == "" && got.Detail != "" {
					t.Errorf("%s: %s; want %s: %s", got.Verdict, got.Detail, c.want, c.detail)
				}
				if got.Verdict == Inconclusive && got.Detail == "" {
					t.Error("inconclusive without a reason")
				}
			})
		})
	}
}

// TestEndless: a claim that heeds no deadline is given up, and can do no more to the lab.
func TestEndless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, release, over := newFake(), make(chan struct{}), make(chan error)
		f.probe = says(`{"event":"started"}`)
		got := judge(t, t.Context(), f, func(ctx context.Context, s *Stack) (Result, error) {
			<-release
			_, err := s.Kill(context.Background(), "db")
			s.Load(context.Background(), Outside, LoadSpec{Rate: 1, For: time.Second, URL: "http://web/"})
			over <- err
			return pass(ctx, s)
		})
		if got.Verdict != Inconclusive || !strings.Contains(got.Detail, "took longer than 1m0s: the measurement does not end") {
			t.Errorf("%s: %s", got.Verdict, got.Detail)
		}
		if want := (DefaultTimeout + overrun).Seconds(); got.Seconds != want {
			t.Errorf("took %v s, want %v", got.Seconds, want)
		}
		close(release)
		if err := <-over; !errors.Is(err, errOver) {
			t.Errorf("a fault after the end: %v", err)
		}
		synctest.Wait()
		want := []string{`probe ["load" "-rate" "1" "-duration" "1s" "http://web/"] beside ""`, "close probe"}
		if diff := cmp.Diff(want, f.done()); diff != "" {
			t.Errorf("done to the lab:\n%s", diff)
		}
	})
}

// TestTimeout: a claim's own limit holds.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := Lab{Claims: []Claim{{ID: "it", Timeout: 5 * time.Second, Measure: func(ctx context.Context, _ *Stack) (Result, error) {
			<-ctx.Done()
			return Result{}, ctx.Err()
		}}}}
		got := Run(t.Context(), lab, NewStack(newFake(), 1), Options{}).Claims[0]
		if got.Seconds != 5 || !strings.Contains(got.Detail, "longer than 5s") {
			t.Errorf("after %v s: %s", got.Seconds, got.Detail)
		}
	})
}

// TestCancelled: when the run is cancelled, its faults are healed all the same, and what is left is not decided.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := newFake()
		f.probe = says(`{"event":"started"}`)
		lab := Lab{Name: "family/lab", Claims: []Claim{
			{ID: "one", Measure: func(ctx context.Context, s *Stack) (Result, error) {
				if _, err := s.Load(ctx, Outside, LoadSpec{}); err != nil {
					return Result{}, err
				}
				if _, err := s.Pause(ctx, "web"); err != nil {
					return Result{}, err
				}
				cancel()
				return pass(ctx, s)
			}},
			{ID: "two", Measure: func(context.Context, *Stack) (Result, error) { t.Error("measured"); return Result{}, nil }},
		}}
		r := Run(ctx, lab, NewStack(f, 1), Options{})
		for i, want := range []string{"context canceled; it would have said: pass", "the run ended before the claim began"} {
			if got := r.Claims[i]; got.Verdict != Inconclusive || !strings.Contains(got.Detail, want) {
				t.Errorf("%s is %s: %s", got.ID, got.Verdict, got.Detail)
			}
		}
		if diff := cmp.Diff([]string{`probe ["load" "-rate" "0" "-duration" "0s" ""] beside ""`, "pause web-1", "close probe", "undo pause web-1"}, f.done()); diff != "" {
			t.Errorf("done:\n%s", diff)
		}
		if f.status["web-1"] != "running" {
			t.Errorf("the container is still %s", f.status["web-1"])
		}
	})
}

// TestRun: the claims in their order, those that were asked for, and what is told meanwhile.
func TestRun(t *testing.T) {
	var events []string
	claim := func(id string, r Result) Claim {
		return Claim{ID: id, Says: "says " + id, Measure: func(context.Context, *Stack) (Result, error) {
			events = append(events, "measure "+id)
			return r, nil
		}}
	}
	lab := Lab{Name: "family/lab", Claims: []Claim{
		claim("b", Decide(true, "1 s").Want("2 s").Of(4)), claim("a", Unknown("why")), claim("c", Decide(false, "3 s").Want("2 s").Of(5)),
	}}
	for _, c := range []struct {
		only    []string
		events  []string
		verdict Verdict
	}{
		{nil, []string{"start b", "measure b", "decide b", "start a", "measure a", "decide a", "start c", "measure c", "decide c"}, Fail},
		{[]string{"a", "b"}, []string{"start b", "measure b", "decide b", "start a", "measure a", "decide a"}, Inconclusive},
		{[]string{"b"}, []string{"start b", "measure b", "decide b"}, Pass},
		{[]string{"nosuch"}, nil, Inconclusive},
	} {
		events = nil
		s := NewStack(newFake(), 42)
		s.Instance, s.Variant = "mine", "broken"
		r := Run(t.Context(), lab, s, Options{
			Claims: c.only, Engine: "docker 1",
			Started: func(c Claim) { events = append(events, "start "+c.ID) },
			Decided: func(r ClaimReport) { events = append(events, "decide "+r.ID) },
		})
		if diff := cmp.Diff(c.events, events); diff != "" {
			t.Errorf("only %q:\n%s", c.only, diff)
		}
		if r.Verdict != c.verdict || r.Seed != 42 || r.Lab != "family/lab" || r.Instance != "mine" || r.Variant != "broken" || r.Engine != "docker 1" {
			t.Errorf("only %q: report %+v", c.only, r)
		}
		if r.Claims == nil {
			t.Errorf("only %q: claims are null in JSON", c.only)
		}
	}
	got := Run(t.Context(), lab, NewStack(newFake(), 42), Options{Claims: []string{"b"}}).Claims[0]
	got.Seconds = 0
	want := ClaimReport{ID: "b", Says: "says b", Verdict: Pass, Measured: "1 s", Want: "2 s", Samples: 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claim:\n%s", diff)
	}
}

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		in   []Verdict
		want Verdict
	}{
		{nil, Inconclusive},
		{[]Verdict{Pass}, Pass},
		{[]Verdict{Pass, Pass}, Pass},
		{[]Verdict{Pass, Inconclusive}, Inconclusive},
		{[]Verdict{Inconclusive, Fail, Pass}, Fail},
		{[]Verdict{Fail, Inconclusive}, Fail},
		{[]Verdict{Pass, "", Pass}, Inconclusive},
		{[]Verdict{"passed"}, Inconclusive},
	} {
		if got := Worst(c.in...); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
}

func TestResult(t *testing.T) {
	got := Decide(false, "%d ms", 3).Want("below %d ms", 2).Of(7).Because("first").Because("second %d", 2)
	want := Result{Verdict: Fail, Measured: "3 ms", Wanted: "below 2 ms", Samples: 7, Detail: "first\nsecond 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
