package split

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"distlab/lab/check"
)

const (
	// pairs of requests, fewer where they take too long; the test is exact for few, too.
	pairs     = 500
	fewest    = 10
	measureIn = 5 * time.Second

	// dearer is what a copy may cost. It is far below the time that the copies hang for.
	dearer = 2 * time.Millisecond
)

// mirror freezes the third build and compares, request by request in turns, the door that copies to it with one that
// copies nothing: whatever else the machine does meets both. The user and the address are of the same arm. Each door has
// one kept connection, so that a copy which holds back the next request is seen as well.
func mirror(ctx context.Context, s *check.Stack) (check.Result, error) {
	copying, err := open(ctx, s, splitter)
	if err != nil {
		return check.Result{}, err
	}
	plain, err := open(ctx, s, byAddress)
	if err != nil {
		return check.Result{}, err
	}
	if err := errors.Join(copying.well(ctx), plain.well(ctx)); err != nil {
		return check.Result{}, err
	}
	user, address := userOf(s, arm0), "10.0.0.7"
	if ipHash(netip.MustParseAddr(address)) != arm0 {
		return check.Unknown("%s is not of %s", address, arm0), nil
	}
	sent, err := copying.metric(ctx, "splitter_mirror_requests_total", `"2xx"`)
	if err != nil {
		return check.Result{}, err
	}
	if _, err := copying.get(ctx, userHeader, user); err != nil {
		return check.Result{}, err
	}
	if err := check.Wait(ctx, "a copy", func(ctx context.Context) error {
		now, err := copying.metric(ctx, "splitter_mirror_requests_total", `"2xx"`)
		if err == nil && now <= sent {
			err = errors.New("none was answered")
		}
		return err
	}); err != nil {
		return check.Result{}, err
	}
	if _, err := s.Pause(ctx, shadow); err != nil {
		return check.Result{}, err
	}
	hung, err := copying.metric(ctx, "splitter_mirror_requests_total", `"timeout"`)
	if err != nil {
		return check.Result{}, err
	}
	var with, without []float64
	r := s.Rand()
	for begun := time.Now(); len(with) < pairs && (len(with) < fewest || time.Since(begun) < measureIn); {
		first := r.IntN(2) == 0
		for _, copied := range []bool{first, !first} {
			d, headers, to := plain, []string{"X-Forwarded-For", address}, &without
			if copied {
				d, headers, to = copying, []string{userHeader, user}, &with
			}
			v, err := d.get(ctx, headers...)
			if err != nil {
				return check.Result{}, err
			}
			if v.arm != arm0 {
				return check.Unknown("a request went to %s", v.arm), nil
			}
			*to = append(*to, v.took.Seconds())
		}
	}
	patience, cancel := context.WithTimeout(ctx, 20*mirrorTimeout)
	defer cancel()
	var copies float64
	if err := check.Wait(patience, "a copy that hung", func(ctx context.Context) error {
		now, err := copying.metric(ctx, "splitter_mirror_requests_total", `"timeout"`)
		if copies = now - hung; err == nil && copies <= 0 {
			err = errors.New("none did")
		}
		return err
	}); err != nil {
		return check.Result{}, err
	}
	less := make([]float64, len(with))
	for i, x := range with {
		less[i] = x - dearer.Seconds()
	}
	// One-sided: cheaper is no fault.
	u, p := check.MannWhitney(less, without)
	if p /= 2; u < float64(len(with)*len(without))/2 {
		p = 1 - p
	}
	res := check.Decide(p >= check.Alpha, "median %.2f ms with copies that hang, %.2f ms without; %.0f copies hung; dearer by more than %v: p = %.2g",
		1000*median(with), 1000*median(without), copies, dearer, p)
	return res.Want("no evidence of that, p ≥ %.2g", check.Alpha).Of(len(with) + len(without)), nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
