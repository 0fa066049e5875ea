package e2e

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"distlab/lab/check"
)

// catalog is what the command under test knows.
var catalog = []check.Lab{
	{
		Name: "test/plain",
		Claims: []check.Claim{
			{ID: "answers", Says: "the page answers 200", Measure: answersAt("app")},
			{ID: "wrong", Says: "two and two is five", Measure: func(context.Context, *check.Stack) (check.Result, error) {
				return check.Decide(2+2 == 5, "%d", 2+2).Want("5").Of(1), nil
			}},
			{ID: "unsure", Says: "nobody knows", Measure: func(context.Context, *check.Stack) (check.Result, error) {
				return check.Result{}, fmt.Errorf("nothing to measure with")
			}},
			{ID: "hangs", Says: "a fault that lasts until someone ends it", Timeout: time.Hour, Measure: hangs},
		},
		Variants: []check.Variant{{Name: "loopback", Says: "nobody can reach the app", Breaks: []string{"answers"}}},
	},
	{Name: "test/pod", Claims: []check.Claim{{ID: "answers", Says: "the page answers 200", Measure: answersAt("pod")}}},
	{Name: "test/slow", Claims: []check.Claim{{ID: "answers", Says: "the page answers 200", Measure: answersAt("app")}}},
	{Name: "test/dies", Claims: []check.Claim{{ID: "answers", Says: "the page answers 200", Measure: answersAt("app")}}},
	{Name: "test/absent", Claims: []check.Claim{{ID: "answers", Says: "the page answers 200", Measure: answersAt("app")}}},
}

func answersAt(service string) func(context.Context, *check.Stack) (check.Result, error) {
	return func(ctx context.Context, s *check.Stack) (check.Result, error) { return answers(ctx, s, service) }
}

func answers(ctx context.Context, s *check.Stack, service string) (check.Result, error) {
	addr, err := s.Address(ctx, service, 8080)
	if err != nil {
		return check.Result{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/about", nil)
	if err != nil {
		return check.Result{}, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return check.Decide(false, "%v", err).Want("200").Of(1), nil
	}
	defer res.Body.Close()
	return check.Decide(res.StatusCode == http.StatusOK, "%d", res.StatusCode).Want("200").Of(1), nil
}

func hangs(ctx context.Context, s *check.Stack) (check.Result, error) {
	if _, err := s.Pause(ctx, "app"); err != nil {
		return check.Result{}, err
	}
	<-ctx.Done()
	return check.Result{}, context.Cause(ctx)
}
