package split

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// userOf is a user of that arm.
func userOf(s *check.Stack, arm string) string {
	for _, name := range names(s.Rand(), 1000) {
		if splitClients(name) == arm {
			return name
		}
	}
	panic("none of 1,000 users is on " + arm)
}

// traffic is two loads from inside the network: of nobody in particular, and of one user.
type traffic []*check.Load

func startTraffic(ctx context.Context, s *check.Stack, user string) (t traffic, err error) {
	for _, args := range [][]string{nil, {"-header", userHeader + ": " + user}} {
		l, err := s.Load(ctx, check.Outside, check.LoadSpec{
			Rate: 100, For: time.Minute, Args: args, URL: fmt.Sprintf("http://%s:%d/about", splitter, webPort),
		})
		if err != nil {
			return nil, err
		}
		t = append(t, l)
	}
	return t, nil
}

// stop is how many requests there were, how many had no good answer, and what was wrong with some.
func (t traffic) stop(ctx context.Context) (requests, failed int, what []string, err error) {
	for _, l := range t {
		a, err := l.Stop(ctx)
		if err != nil {
			return 0, 0, nil, err
		}
		requests, failed = requests+a.Requests, failed+a.Requests-a.OK
		what = append(what, a.First...)
	}
	return requests, failed, what, nil
}

// experimentDown kills the experiment while its users come, and starts it again. It must be away from the splitter's
// view, too, and it must be seen to serve again, so that both changes fall into the load.
func experimentDown(ctx context.Context, s *check.Stack) (check.Result, error) {
	d, err := open(ctx, s, splitter)
	if err != nil {
		return check.Result{}, err
	}
	if err := d.well(ctx); err != nil {
		return check.Result{}, err
	}
	user := userOf(s, arm1)
	met, err := d.metric(ctx, "splitter_arm_failures_total", `arm="`+arm1+`"`)
	if err != nil {
		return check.Result{}, err
	}
	load, err := startTraffic(ctx, s, user)
	if err != nil {
		return check.Result{}, err
	}
	f, err := s.Kill(ctx, experiment)
	if err != nil {
		return check.Result{}, err
	}
	// Either kind of answer will do here, so that a variant without a fallback is measured as well: there a visit can
	// take as long as the splitter's patience with an arm.
	const visits, lasting = 30, 3 * time.Second
	var away tally
	var since time.Time
	patience, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := check.Wait(patience, "visits while it is away", func(ctx context.Context) error {
		n, err := d.metric(ctx, "splitter_arm_failures_total", `arm="`+arm1+`"`)
		if err != nil {
			return err
		}
		if n == met {
			return errors.New("no request has met the dead experiment")
		}
		if since.IsZero() {
			since = time.Now()
		}
		v, err := d.get(ctx, userHeader, user)
		away.note(err == nil && v.arm == arm0 && (v.reason == "fallback" || v.reason == "retry"),
			"while it was away its user was on %q by %q (%v)", v.arm, v.reason, err)
		if away.all < visits && time.Since(since) < lasting {
			return fmt.Errorf("%d of %d visits", away.all, visits)
		}
		return nil
	}); err != nil {
		return check.Result{}, err
	}
	said, err := d.why(ctx, "header", userHeader+": "+user)
	if err != nil {
		return check.Result{}, err
	}
	if err := f.Heal(ctx); err != nil {
		return check.Result{}, err
	}
	back := ""
	patience, cancel = context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	served := check.Wait(patience, "the experiment to serve its user", func(ctx context.Context) error {
		v, err := d.get(ctx, userHeader, user)
		if back = v.arm; err == nil && v.arm != arm1 {
			err = fmt.Errorf("%s by %s", v.arm, v.reason)
		}
		return err
	})
	if ctx.Err() != nil {
		return check.Result{}, context.Cause(ctx)
	}
	requests, failed, what, err := load.stop(ctx)
	if err != nil {
		return check.Result{}, err
	}
	ok := failed == 0 && served == nil && away.right == away.all
	res := check.Decide(ok, "%d of %d requests failed; its user was on %s in %v visits meanwhile, and then on %s", failed, requests, arm0, &away, back)
	return res.Want("none; all; %s", arm1).Of(requests).Because("%s", strings.Join(away.odd, "\n")).
		Because("/why said %s by %s", said.Arm, said.Reason).Because("%s", strings.Join(what, "\n")), nil
}

// reweight gives each arm a half by the admin port, and then has the splitter read its file again, in which it is
// nine to one. Users are dealt by a hash: those who have the larger share's side keep it where they can.
func reweight(ctx context.Context, s *check.Stack) (check.Result, error) {
	d, err := open(ctx, s, splitter)
	if err != nil {
		return check.Result{}, err
	}
	if err := d.well(ctx); err != nil {
		return check.Result{}, err
	}
	const users = 1000
	who := names(s.Rand(), users)
	load, err := startTraffic(ctx, s, who[0])
	if err != nil {
		return check.Result{}, err
	}
	before, err := armsOf(ctx, d, who)
	if err != nil {
		return check.Result{}, err
	}
	defer d.setWeights(context.WithoutCancel(ctx), 9, 1) // where it does not come to the SIGHUP
	if err := d.setWeights(ctx, 1, 1); err != nil {
		return check.Result{}, err
	}
	half, err := armsOf(ctx, d, who)
	if err != nil {
		return check.Result{}, err
	}
	if _, err := s.Signal(ctx, splitter, "SIGHUP", func(ctx context.Context) (string, error) {
		w, err := d.weights(ctx)
		return fmt.Sprintf("%d to %d", w[arm0], w[arm1]), err
	}); err != nil {
		return check.Result{}, err
	}
	after, err := armsOf(ctx, d, who)
	if err != nil {
		return check.Result{}, err
	}
	requests, failed, what, err := load.stop(ctx)
	if err != nil {
		return check.Result{}, err
	}
	visits := slices.Concat(before, half, after)
	requests, failed = requests+len(visits), failed+count(visits, "")
	left, changed := 0, 0
	for i := range who {
		if before[i] == arm1 && half[i] != arm1 {
			left++
		}
		if before[i] != after[i] {
			changed++
		}
	}
	n := count(half, arm1)
	p := check.BinomialTest(n, users, 0.5)
	ok := failed == 0 && p >= check.Alpha && left == 0 && changed == 0
	res := check.Decide(ok, "%d of %d requests failed; at one half %d of %d users (p = %.2g) on the experiment, %d had left it; after SIGHUP %d were not where they had been",
		failed, requests, n, users, p, left, changed)
	res = res.Want("none; 50 %%, p ≥ %.2g; none; none", check.Alpha).Of(requests).Because("%s", strings.Join(what, "\n"))
	if failed > 0 {
		return res, nil
	}
	return d.undisturbed(res), nil
}

// armsOf is where each user is served; "" for one who is not.
func armsOf(ctx context.Context, d door, who []string) ([]string, error) {
	arms := make([]string, len(who))
	err := each(ctx, len(who), func(ctx context.Context, i int) error {
		if v, err := d.get(ctx, userHeader, who[i]); err == nil {
			arms[i] = v.arm
		}
		return ctx.Err()
	})
	return arms, err
}
