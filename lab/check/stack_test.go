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

// draw runs claims that draw numbers, and returns what they drew.
func draw(seed uint64, only []string, ids ...string) map[string][]uint64 {
	drew := map[string][]uint64{}
	var lab Lab
	for _, id := range ids {
		lab.Claims = append(lab.Claims, Claim{ID: id, Measure: func(ctx context.Context, s *Stack) (Result, error) {
			for range 3 {
				drew[id] = append(drew[id], s.Rand().Uint64())
			}
			return pass(ctx, s)
		}})
	}
	Run(context.Background(), lab, NewStack(newFake(), seed), Options{Claims: only})
	return drew
}

// TestSeed: the same seed draws the same numbers, whichever claims run beside; another seed or claim draws others.
func TestSeed(t *testing.T) {
	all := draw(7, nil, "a", "b", "c")
	if diff := cmp.Diff(all, draw(7, nil, "c", "b", "a")); diff != "" {
		t.Errorf("in another order:\n%s", diff)
	}
	if diff := cmp.Diff(all["b"], draw(7, []string{"b"}, "a", "b", "c")["b"]); diff != "" {
		t.Errorf("alone:\n%s", diff)
	}
	seen := map[uint64]string{}
	for _, drew := range []map[string][]uint64{all, draw(8, nil, "a", "b", "c")} {
		for id, numbers := range drew {
			for _, n := range numbers {
				if before, twice := seen[n]; twice {
					t.Errorf("%s drew %d, as %s did", id, n, before)
				}
				seen[n] = id
			}
		}
	}
	if len(seen) != 18 {
		t.Errorf("%d numbers", len(seen))
	}
}

func TestStack(t *testing.T) {
	ctx, f := t.Context(), newFake()
	s := NewStack(f, 1).forClaim("it")
	web, err := s.Replicas(ctx, "web")
	if err != nil || len(web) != 2 || web[0].Number != 1 || web[1].ID != "web-2" {
		t.Errorf("replicas: %+v, %v", web, err)
	}
	if c, err := s.Replica(ctx, "web", 2); err != nil || c.ID != "web-2" {
		t.Errorf("replica: %+v, %v", c, err)
	}
	if a, err := s.Address(ctx, "web", 8080); err != nil || a != "127.0.0.1:40001" {
		t.Errorf("address: %q, %v", a, err)
	}
	if st, err := s.State(ctx, "db"); err != nil || st.Status != "running" {
		t.Errorf("state: %+v, %v", st, err)
	}
	if o, err := s.Exec(ctx, "db", "redis-cli", "ping"); err != nil || o.Stdout != "db-1: redis-cli ping" {
		t.Errorf("exec: %+v, %v", o, err)
	}
	if l, err := s.Logs(ctx, "db", time.Time{}); err != nil || l != "log of db-1" {
		t.Errorf("logs: %q, %v", l, err)
	}
	if b, err := s.ReadFile(ctx, "db", "/cert"); err != nil || string(b) != "old" {
		t.Errorf("file: %q, %v", b, err)
	}
	if err := s.Record("load.json", []byte("{}")); err != nil || f.records["it-load.json"] != "{}" {
		t.Errorf("records: %q, %v", f.records, err)
	}
	for what, err := range map[string]error{
		"service nosuch: has no container":       second(s.Exec(ctx, "nosuch")),
		"service web: port 9 is not published":   second(s.Address(ctx, "web", 9)),
		"service web: has no replica 0 among 2":  second(s.Replica(ctx, "web", 0)),
		"service gone: has no container":         second(s.Address(ctx, "gone", 1)),
		"service lost: has no container":         second(s.State(ctx, "lost")),
		"service silent: has no container":       second(s.Logs(ctx, "silent", time.Time{})),
		"service unread: has no container":       second(s.ReadFile(ctx, "unread", "/")),
		"read /nosuch: file does not exist":      second(s.ReadFile(ctx, "web", "/nosuch")),
		"service unreplicated: has no container": second(s.Replicas(ctx, "unreplicated")),
		"service unnumbered: has no container":   second(s.Replica(ctx, "unnumbered", 1)),
		"context canceled":                       second(s.Replicas(cancelled(), "web")),
		"wait for it: the cause (last: not yet)": Wait(because(), "it", func(context.Context) error { return errors.New("not yet") }),
	} {
		if err == nil || err.Error() != what {
			t.Errorf("error %q, want %q", err, what)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func because() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("the cause"))
	return ctx
}

// TestWait: it asks at once and often, and tells the last answer when its time is up.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, start := 0, time.Now()
		err := Wait(t.Context(), "ten", func(context.Context) error {
			if asked++; asked < 10 {
				return fmt.Errorf("only %d", asked)
			}
			return nil
		})
		if err != nil || time.Since(start) > time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked = 0
		err = Wait(ctx, "ever", func(context.Context) error { asked++; return errTest })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errTest) || !strings.Contains(err.Error(), "wait for ever: ") {
			t.Errorf("error %v", err)
		}
		if asked < 20 || asked > 30 {
			t.Errorf("asked %d times in a second", asked)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked = 0
		err = Wait(ctx, "an answer", func(ctx context.Context) error {
			if asked++; asked == 1 {
				return errTest
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, errTest) {
			t.Errorf("the last question was cut off, and what was answered before is not told: %v", err)
		}
	})
}
