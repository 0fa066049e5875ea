package health

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// hung freezes MySQL: connections are accepted, by the kernel, and nothing answers. No prober may wait for longer than
// the timeout, before the state changes as after.
func hung(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, err
	}
	if _, err := s.Pause(ctx, database); err != nil {
		return check.Result{}, err
	}
	w, err := until(ctx, s, "/readyz", http.StatusServiceUnavailable, downWithin+2*margin, 5*timeout)
	if err != nil {
		return check.Result{}, err
	}
	port, err := s.TCP(ctx, check.Inside(pod), "127.0.0.1:3306")
	if err != nil {
		return check.Result{}, err
	}
	if !port.Connected {
		return check.Unknown("the frozen server's port does not accept: %s", port.Error), nil
	}
	secret, err := leaks(ctx, s, w.answers...)
	if err != nil {
		return check.Result{}, err
	}
	ok := w.in(downWithin) && w.slowest <= timeout+margin && len(w.failed) == 0 && w.last.Reason != "" && secret == 0
	res := check.Decide(ok, "503 %v, slowest answer %.2f s, %d without an answer, %d secrets", w, w.slowest.Seconds(), len(w.failed), secret)
	return res.Want("503 within %v, each answer within %v, no secret", downWithin, timeout+margin).Of(len(w.answers)+len(w.failed)).
		Because("reason: %s", w.last.Reason).Because("%s", strings.Join(w.failed, "\n")), nil
}

// down stops MySQL in order: its port is closed.
func down(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, err
	}
	if _, err := s.Stop(ctx, database, check.Grace(20*time.Second)); err != nil {
		return check.Result{}, err
	}
	return refused(ctx, s, "", soonWithin)
}

// refused waits for /readyz to be 503, with a reason that has a word in it, and decides.
func refused(ctx context.Context, s *check.Stack, word string, limit time.Duration) (check.Result, error) {
	w, err := until(ctx, s, "/readyz", http.StatusServiceUnavailable, limit+2*margin, 5*timeout)
	if err != nil {
		return check.Result{}, err
	}
	secret, err := leaks(ctx, s, w.answers...)
	if err != nil {
		return check.Result{}, err
	}
	ok := w.in(limit) && w.slowest <= timeout+margin && secret == 0 &&
		w.last.Reason != "" && strings.Contains(w.last.Reason, word)
	res := check.Decide(ok, "503 %v, slowest answer %.2f s, reason %q, %d secrets", w, w.slowest.Seconds(), w.last.Reason, secret)
	return res.Want("within %v, each answer within %v, a reason, no secret", limit, timeout+margin).Of(len(w.answers)).
		Because("%s", strings.Join(w.failed, "\n")), nil
}

// recovers kills MySQL, sees that this shows, and starts it again. The adapter must find its way back by itself.
func recovers(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, err
	}
	was, err := s.State(ctx, adapter)
	if err != nil {
		return check.Result{}, err
	}
	f, err := s.Kill(ctx, database)
	if err != nil {
		return check.Result{}, err
	}
	gone, err := until(ctx, s, "/readyz", http.StatusServiceUnavailable, 3*downWithin, 5*timeout)
	if err != nil {
		return check.Result{}, err
	}
	if gone.took < 0 {
		return check.Unknown("the kill did not show: %d %s", gone.last.Code, gone.last.Reason), nil
	}
	if err := f.Heal(ctx); err != nil { // until the engine has seen it answer
		return check.Result{}, err
	}
	// A server that has just repaired its files answers pings before it writes: the clock starts when it does, in time.
	if err := check.Wait(ctx, "a write in time", func(ctx context.Context) error {
		begun := time.Now()
		if _, err := sql(ctx, s, "REPLACE INTO shop.heartbeat (id, at) VALUES (1, NOW(6))"); err != nil {
			return err
		}
		if took := time.Since(begun); took > timeout {
			return fmt.Errorf("it took %v", took)
		}
		return nil
	}); err != nil {
		return check.Result{}, err
	}
	w, err := until(ctx, s, "/readyz", http.StatusOK, 3*upWithin, 5*timeout)
	if err != nil {
		return check.Result{}, err
	}
	is, err := s.State(ctx, adapter)
	if err != nil {
		return check.Result{}, err
	}
	same := is.StartedAt.Equal(was.StartedAt)
	res := check.Decide(w.in(upWithin) && same, "200 %v, adapter restarted: %t", w, !same)
	return res.Want("within %v, not restarted", upWithin).Of(1).Because("last: %d %s", w.last.Code, w.last.Reason), nil
}

// flap freezes MySQL until one check has run into the timeout, and lets it go on. Nobody may hear of it but in the count
// of failures. Checks are made when somebody asks, so that none is made while it thaws.
func flap(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, err
	}
	f, err := s.Pause(ctx, database)
	if err != nil {
		return check.Result{}, err
	}
	patience, cancel := context.WithTimeout(ctx, 5*(timeout+cacheTTL))
	defer cancel()
	var seen []answer
	failures := 0
	look := func(ctx context.Context) (answer, error) {
		a, err := ask(ctx, s, "/readyz")
		if err == nil {
			seen = append(seen, a)
			failures = max(failures, a.Failures)
		}
		return a, err
	}
	if err := check.Wait(patience, "a check that fails", func(context.Context) error {
		a, err := look(ctx)
		if err == nil && a.Failures == 0 {
			err = fmt.Errorf("none has failed yet")
		}
		return err
	}); err != nil {
		return check.Result{}, err
	}
	if err := f.Heal(ctx); err != nil {
		return check.Result{}, err
	}
	again, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := check.Wait(again, "a check that succeeds", func(context.Context) error {
		a, err := look(ctx)
		if err == nil && a.Failures > 0 {
			err = fmt.Errorf("%d have failed: %s", a.Failures, a.Reason)
		}
		return err
	}); err != nil {
		return check.Result{}, err
	}
	if failures >= fall {
		return check.Unknown("the fault lasted for %d checks, which is no flap", failures), nil
	}
	wrong := 0
	for _, a := range seen {
		if a.Code != http.StatusOK {
			wrong++
		}
	}
	res := check.Decide(wrong == 0, "%d of %d answers were not 200, %d checks in a row failed", wrong, len(seen), failures)
	return res.Want("none").Of(len(seen)), nil
}
