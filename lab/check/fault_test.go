package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReceipts: every fault leaves what was seen before, during and after.
func TestReceipts(t *testing.T) {
	reloads := 0
	for _, c := range []struct {
		name   string
		inject func(context.Context, *Stack) (*Fault, error)
		want   Receipt
		done   string
	}{
		{
			"stop", func(ctx context.Context, s *Stack) (*Fault, error) { return s.Stop(ctx, "web") },
			Receipt{"stop lab-web-1", "running", "exited with code 7", "running"},
			"stop web-1",
		},
		{
			"kill the second", func(ctx context.Context, s *Stack) (*Fault, error) { return s.Kill(ctx, "web", Replica(2)) },
			Receipt{"kill lab-web-2", "running", "exited with code 7", "running"},
			"kill web-2",
		},
		{
			"pause", func(ctx context.Context, s *Stack) (*Fault, error) { return s.Pause(ctx, "db") },
			Receipt{"pause lab-db-1", "running", "paused", "running"},
			"pause db-1",
		},
		{
			"disconnect", func(ctx context.Context, s *Stack) (*Fault, error) { return s.Disconnect(ctx, "web", "back") },
			Receipt{"disconnect lab-web-1 from back", "on networks back, front", "on networks front", "on networks back, front"},
			"disconnect web-1",
		},
		{
			"write", func(ctx context.Context, s *Stack) (*Fault, error) {
				return s.Write(ctx, "web", map[string][]byte{"/cert": []byte("fresh"), "/key": []byte("k")})
			},
			Receipt{
				"write lab-web-1 /cert /key",
				"/cert 3 bytes " + digest([]byte("old")) + " | /key absent",
				"/cert 5 bytes " + digest([]byte("fresh")) + " | /key 1 bytes " + digest([]byte("k")),
				"/cert 3 bytes " + digest([]byte("old")) + " | /key absent",
			},
			"write web-1",
		},
		{
			"signal", func(ctx context.Context, s *Stack) (*Fault, error) {
				reloads = 0
				return s.Signal(ctx, "web", "SIGHUP", func(context.Context) (string, error) {
					reloads++
					return fmt.Sprint("loads: ", reloads), nil
				})
			},
			Receipt{"signal lab-web-1 SIGHUP", "loads: 1", "loads: 2", "loads: 3"},
			"signal web-1",
		},
		{
			"run", func(ctx context.Context, s *Stack) (*Fault, error) {
				reloads = 0
				return s.Run(ctx, "db", "DROP TABLE t", []string{"sql", "secret"}, []string{"sql", "back"}, func(context.Context) (string, error) {
					reloads++
					return fmt.Sprint("tables: ", reloads), nil
				})
			},
			Receipt{"run lab-db-1 DROP TABLE t", "tables: 1", "tables: 2", "tables: 3"},
			"run db-1",
		},
		{
			"seen too", func(ctx context.Context, s *Stack) (*Fault, error) {
				return s.Stop(ctx, "web", Seen(func(ctx context.Context) (string, error) {
					st, err := s.State(ctx, "web")
					return "status " + st.Status, err
				}))
			},
			Receipt{"stop lab-web-1", "running | status running", "exited with code 7 | status exited", "running | status running"},
			"stop web-1",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			got := judge(t, t.Context(), f, func(ctx context.Context, s *Stack) (Result, error) {
				fault, err := c.inject(ctx, s)
				if err != nil {
					return Result{}, err
				}
				if !fault.Proven() || fault.Receipt().After != "" {
					t.Errorf("before it is healed: proven %v, receipt %+v", fault.Proven(), fault.Receipt())
				}
				return pass(ctx, s)
			})
			if got.Verdict != Pass {
				t.Fatalf("%s: %s", got.Verdict, got.Detail)
			}
			if diff := cmp.Diff([]Receipt{c.want}, got.Faults); diff != "" {
				t.Errorf("receipts:\n%s", diff)
			}
			if diff := cmp.Diff([]string{c.done, "undo " + c.done}, f.done()); diff != "" {
				t.Errorf("done:\n%s", diff)
			}
		})
	}
}

// TestFaultsAreHealed: last first, once each, whether or not the claim did it, had an error, or panicked.
func TestFaultsAreHealed(t *testing.T) {
	both := []string{"stop web-1", "pause db-1", "undo pause db-1", "undo stop web-1"}
	for _, c := range []struct {
		name string
		then func(context.Context, *Fault, *Fault) (Result, error)
		want []string
	}{
		{"left", func(ctx context.Context, _, _ *Fault) (Result, error) { return pass(ctx, nil) }, both},
		{"error", func(context.Context, *Fault, *Fault) (Result, error) { return Result{}, errTest }, both},
		{"panic", func(context.Context, *Fault, *Fault) (Result, error) { panic("oh") }, both},
		{"timeout", func(ctx context.Context, _, _ *Fault) (Result, error) { <-ctx.Done(); return Result{}, ctx.Err() }, both},
		{"by the claim", func(ctx context.Context, stop, pause *Fault) (Result, error) {
			return Decide(true, "").Of(1), errors.Join(stop.Heal(ctx), pause.Heal(ctx), stop.Heal(ctx))
		}, []string{"stop web-1", "pause db-1", "undo stop web-1", "undo pause db-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				got := judge(t, t.Context(), f, func(ctx context.Context, s *Stack) (Result, error) {
					stop, err := s.Stop(ctx, "web")
					if err != nil {
						t.Error(err)
					}
					pause, err := s.Pause(ctx, "db")
					if err != nil {
						t.Error(err)
					}
					return c.then(ctx, stop, pause)
				})
				if diff := cmp.Diff(c.want, f.done()); diff != "" {
					t.Errorf("done:\n%s", diff)
				}
				if len(got.Faults) != 2 || got.Faults[0].After != "running" || got.Faults[1].After != "running" {
					t.Errorf("receipts: %+v", got.Faults)
				}
			})
		})
	}
}

// TestHealAgain: a heal that failed is tried again at the end, and then the claim stands.
func TestHealAgain(t *testing.T) {
	f, first := newFake(), true
	f.undo = func(context.Context, Action) error {
		if first {
			first = false
			return errTest
		}
		return nil
	}
	got := judge(t, t.Context(), f, func(ctx context.Context, s *Stack) (Result, error) {
		fault, err := s.Stop(ctx, "web")
		if err != nil {
			return Result{}, err
		}
		if err := fault.Heal(ctx); !errors.Is(err, errTest) {
			t.Errorf("heal: %v", err)
		}
		return pass(ctx, s)
	})
	if got.Verdict != Pass || got.Faults[0].After != "running" {
		t.Errorf("%s: %s, %+v", got.Verdict, got.Detail, got.Faults)
	}
}

// TestFaultErrors: what cannot be done or seen is an error that names the fault, and is not done where it cannot
// be proved.
func TestFaultErrors(t *testing.T) {
	blind := func(f *fake) { f.state = func() error { return errTest } }
	still := func(context.Context) (string, error) { return "always so", nil }
	for _, c := range []struct {
		name   string
		engine func(*fake)
		inject func(context.Context, *Stack) (*Fault, error)
		want   string
		done   bool
	}{
		{"no such service", nil, func(ctx context.Context, s *Stack) (*Fault, error) { return s.Stop(ctx, "nosuch") }, "service nosuch: has no container", false},
		{"no such replica", nil, func(ctx context.Context, s *Stack) (*Fault, error) { return s.Stop(ctx, "web", Replica(3)) }, "has no replica 3 among 2", false},
		{"blind before", blind, func(ctx context.Context, s *Stack) (*Fault, error) { return s.Stop(ctx, "web") }, "stop lab-web-1: before: the test's error", false},
		{"signal that nobody sees", nil, func(ctx context.Context, s *Stack) (*Fault, error) { return s.Signal(ctx, "web", "SIGHUP", nil) }, "a signal needs an observation", false},
		{"signal without effect", nil, func(ctx context.Context, s *Stack) (*Fault, error) { return s.Signal(ctx, "web", "SIGHUP", still) }, "no effect", true},
		{"run that nobody sees", nil, func(ctx context.Context, s *Stack) (*Fault, error) {
			return s.Run(ctx, "web", "x", []string{"x"}, []string{"y"}, nil)
		}, "a run needs an observation", false},
		{"half an effect", nil, func(ctx context.Context, s *Stack) (*Fault, error) { return s.Stop(ctx, "web", Seen(still)) }, "no effect", true},
		{"the same file", nil, func(ctx context.Context, s *Stack) (*Fault, error) {
			return s.Write(ctx, "web", map[string][]byte{"/cert": []byte("old"), "/key": []byte("new")})
		}, "no effect", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				if c.engine != nil {
					c.engine(f)
				}
				got := judge(t, t.Context(), f, func(ctx context.Context, s *Stack) (Result, error) {
					_, err := c.inject(ctx, s)
					return Result{}, err
				})
				if got.Verdict != Inconclusive || !strings.Contains(got.Detail, c.want) {
					t.Errorf("%s: %s; want %s", got.Verdict, got.Detail, c.want)
				}
				if done := len(f.done()) > 0; done != c.done {
					t.Errorf("done: %q", f.done())
				}
			})
		})
	}
}

// TestSlowEffect: an effect may take a while to be seen.
func TestSlowEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		got := judge(t, t.Context(), newFake(), func(ctx context.Context, s *Stack) (Result, error) {
			_, err := s.Signal(ctx, "web", "SIGHUP", func(context.Context) (string, error) {
				if looks++; looks == 20 {
					return "", errTest // a look that fails is not the end either
				}
				return fmt.Sprint("reloaded: ", looks > 30), nil
			})
			if err != nil {
				return Result{}, err
			}
			return pass(ctx, s)
		})
		if got.Verdict != Pass || got.Faults[0].During != "reloaded: true" {
			t.Errorf("%s: %s, %+v", got.Verdict, got.Detail, got.Faults)
		}
	})
}

// TestOptionsReachTheEngine: how long a stop waits, and what takes a signal back, when it is done and when it is undone.
func TestOptionsReachTheEngine(t *testing.T) {
	looks := 0
	count := func(context.Context) (string, error) { looks++; return fmt.Sprint(looks), nil }
	for _, c := range []struct {
		inject func(ctx context.Context, s *Stack) (*Fault, error)
		want   Action
	}{
		{
			func(ctx context.Context, s *Stack) (*Fault, error) { return s.Stop(ctx, "web", Grace(3*time.Second)) },
			Action{Kind: ActStop, Grace: 3 * time.Second},
		},
		{
			func(ctx context.Context, s *Stack) (*Fault, error) {
				return s.Signal(ctx, "web", "SIGSTOP", count, Back("SIGCONT"))
			},
			Action{Kind: ActSignal, Signal: "SIGSTOP", Back: "SIGCONT"},
		},
		{
			func(ctx context.Context, s *Stack) (*Fault, error) {
				return s.Run(ctx, "web", "break", []string{"break", "it"}, []string{"mend", "it"}, count)
			},
			Action{Kind: ActRun, Run: []string{"break", "it"}, Undo: []string{"mend", "it"}},
		},
	} {
		f := newFake()
		var done, undone Action
		f.do = func(a Action) error {
			done, f.status["web-1"] = a, "exited"
			return nil
		}
		f.undo = func(_ context.Context, a Action) error {
			undone = a
			return nil
		}
		got := judge(t, t.Context(), f, func(ctx context.Context, s *Stack) (Result, error) {
			if _, err := c.inject(ctx, s); err != nil {
				return Result{}, err
			}
			return pass(ctx, s)
		})
		if diff := cmp.Diff([]Action{c.want, c.want}, []Action{done, undone}); diff != "" || got.Verdict != Pass {
			t.Errorf("%s: %s", got.Verdict, diff)
		}
	}
}
