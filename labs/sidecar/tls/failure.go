package tls

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// within is how soon a dead app must show.
const within = 2 * time.Second

// appDown stops the app and takes the time until the sidecar answers 502 and says that it is unready; then it brings
// the app back and waits until the sidecar is ready again and a page comes through.
func appDown(ctx context.Context, s *check.Stack) (check.Result, error) {
	code, err := get(ctx, s, "/about")
	if err != nil {
		return check.Result{}, err
	}
	if code != http.StatusOK {
		return check.Unknown("the page answers %d before the app is stopped", code), nil
	}
	f, err := s.Stop(ctx, app)
	if err != nil {
		return check.Result{}, err
	}
	gone := time.Now()
	badGateway, err := until(ctx, gone, http.StatusBadGateway, func(ctx context.Context) (int, error) { return get(ctx, s, "/about") })
	if err != nil {
		return check.Result{}, err
	}
	unready, err := until(ctx, gone, http.StatusServiceUnavailable, func(ctx context.Context) (int, error) { return ready(ctx, s) })
	if err != nil {
		return check.Result{}, err
	}
	if err := f.Heal(ctx); err != nil {
		return check.Result{}, err
	}
	back := time.Now()
	again, err := until(ctx, back, http.StatusOK, func(ctx context.Context) (int, error) { return ready(ctx, s) })
	if err != nil {
		return check.Result{}, err
	}
	page, err := until(ctx, back, http.StatusOK, func(ctx context.Context) (int, error) { return get(ctx, s, "/about") })
	if err != nil {
		return check.Result{}, err
	}
	ok := badGateway.in(within) && unready.in(within) && again.in(within) && page.in(within)
	res := check.Decide(ok, "502 after %v, unready after %v, ready again after %v, page after %v", badGateway, unready, again, page)
	return res.Want("each within %v", within).Of(4), nil
}

// delay is how long something took to be seen; negative: it was not.
type delay time.Duration

func (d delay) in(limit time.Duration) bool { return d >= 0 && time.Duration(d) <= limit }

func (d delay) String() string {
	if d < 0 {
		return "never"
	}
	return fmt.Sprintf("%.2f s", time.Duration(d).Seconds())
}

// until asks for a status code until it is the one wanted, for a while longer than it may take. An answer that
// does not come, or another code, is "not yet".
func until(ctx context.Context, begun time.Time, want int, ask func(context.Context) (int, error)) (delay, error) {
	patience, cancel := context.WithTimeout(ctx, 3*within)
	defer cancel()
	err := check.Wait(patience, fmt.Sprintf("status %d", want), func(ctx context.Context) error {
		code, err := ask(ctx)
		if err == nil && code != want {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	if err != nil {
		return -1, nil
	}
	return delay(time.Since(begun)), nil
}

// drain has requests in flight, by HTTP/1.1 and HTTP/2, and an open-model load beside them, and stops the sidecar.
// A request that the stopped sidecar refused was never in flight; one that was sent and not answered whole is lost.
func drain(ctx context.Context, s *check.Stack) (check.Result, error) {
	const each = 20
	slow := outside + "/slow?ms=3000"
	load, err := s.Load(ctx, check.Outside, check.LoadSpec{Rate: 100, For: time.Minute, Args: []string{"-insecure"}, URL: outside + "/about"})
	if err != nil {
		return check.Result{}, err
	}
	one, err := s.Flight(ctx, check.Outside, each, "-insecure", "-http1", slow)
	if err != nil {
		return check.Result{}, err
	}
	two, err := s.Flight(ctx, check.Outside, each, "-insecure", "-http2", slow)
	if err != nil {
		return check.Result{}, err
	}
	f, err := s.Stop(ctx, sidecar, check.Grace(20*time.Second))
	if err != nil {
		return check.Result{}, err
	}
	st, err := s.State(ctx, sidecar)
	if err != nil {
		return check.Result{}, err
	}
	var answers []check.LoadAnswer
	for _, l := range []*check.Load{one, two} {
		a, err := l.Result(ctx)
		if err != nil {
			return check.Result{}, err
		}
		answers = append(answers, a)
	}
	a, err := load.Stop(ctx)
	if err != nil {
		return check.Result{}, err
	}
	if err := f.Heal(ctx); err != nil {
		return check.Result{}, err
	}
	flying := answers[0].OK + answers[1].OK
	res := check.Decide(flying == 2*each && a.Lost == 0 && st.ExitCode == 0,
		"%d of %d requests in flight answered, %d of %d under load lost, exit code %d", flying, 2*each, a.Lost, a.Requests, st.ExitCode)
	return res.Want("all answered, none lost, exit code 0").Of(2*each+a.Requests).
		Because("under load, by kind of error: %v", a.Errors).
		Because("%s", strings.Join(distinct(a.First, answers[0].First, answers[1].First), "\n")), nil
}
