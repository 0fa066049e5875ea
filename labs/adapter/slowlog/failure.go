package slowlog

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"distlab/lab/check"
)

// overflow freezes the adapter while more entries are made than Redis keeps. Then each ID from the last one read to the
// newest must be accounted for: written once, or in one report of a loss. IDs leave no gap, so this is exact
// whatever else was slow meanwhile.
func overflow(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n = 200 // Redis keeps 128
	last, err := level(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	before, err := readStatus(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	since := time.Now()
	f, err := s.Pause(ctx, adapter)
	if err != nil {
		return check.Result{}, err
	}
	markers, err := slow(ctx, s, n, 11*time.Millisecond, 12*time.Millisecond)
	if err != nil {
		return check.Result{}, err
	}
	entries, err := slowlog(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	gone := n - len(logged(entries, markers))
	if gone < 50 {
		return check.Unknown("Redis threw away %d of %d entries: too few to be missed", gone, n), nil
	}
	if err := f.Heal(ctx); err != nil {
		return check.Result{}, err
	}
	if err := awaitAll(ctx, s, since, markers[n-1:]); err != nil {
		return check.Result{}, err
	}
	newest, err := level(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	own, err := ownIDs(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	lines, text, err := wrote(ctx, s, since)
	if err != nil {
		return check.Result{}, err
	}
	if err := s.Record("adapter.log", []byte(text)); err != nil {
		return check.Result{}, err
	}
	now, err := readStatus(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	account := map[int64]int{}
	lost := int64(0)
	for _, l := range lines {
		switch {
		case l.Event == "slow" && l.ID <= newest:
			account[l.ID]++
		case l.Event == "lost" && l.LastID <= newest:
			lost += l.Lost
			for id := l.FirstID; id <= l.LastID; id++ {
				account[id]++
			}
		}
	}
	missing, twice := 0, 0
	for id := last + 1; id <= newest; id++ {
		switch {
		case account[id] > 1:
			twice++
		case account[id] == 0 && !own[id]:
			missing++
		}
	}
	ok := missing == 0 && twice == 0 && lost >= int64(gone) && now.Lost-before.Lost == lost
	res := check.Decide(ok, "%d reported lost of %d thrown away, %d counted in the status; of %d IDs %d unaccounted for, %d twice",
		lost, gone, now.Lost-before.Lost, newest-last, missing, twice)
	return res.Want("all that were thrown away; none, none").Of(int(newest - last)), nil
}

// ownIDs are the entries of the adapter's own commands: on a busy machine one of them may be slow, and it is left out.
func ownIDs(ctx context.Context, s *check.Stack) (map[int64]bool, error) {
	entries, err := slowlog(ctx, s)
	own := map[int64]bool{}
	for _, e := range entries {
		if len(e.clientName) > len(ownName) && e.clientName[:len(ownName)] == ownName {
			own[e.id] = true
		}
	}
	return own, err
}

// restart restarts Redis after so many entries that none of its new IDs is above the last one read.
func restart(ctx context.Context, s *check.Stack) (check.Result, error) {
	const before, after = 40, 8
	since := time.Now()
	old, err := slow(ctx, s, before, 11*time.Millisecond, 12*time.Millisecond)
	if err != nil {
		return check.Result{}, err
	}
	if err := awaitAll(ctx, s, since, old); err != nil {
		return check.Result{}, err
	}
	read, err := readStatus(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	oldRun, err := runID(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	f, err := s.Stop(ctx, redis)
	if err != nil {
		return check.Result{}, err
	}
	since = time.Now()
	if err := f.Heal(ctx); err != nil {
		return check.Result{}, err
	}
	fresh, err := slow(ctx, s, after, 12*time.Millisecond, 20*time.Millisecond)
	if err != nil {
		return check.Result{}, err
	}
	newRun, err := runID(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	entries, err := slowlog(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	switch {
	case newRun == oldRun:
		return check.Unknown("the run ID is the same after the restart"), nil
	case len(logged(entries, fresh)) != after:
		return check.Unknown("Redis's own log has %d of %d slow commands", len(logged(entries, fresh)), after), nil
	case entries[0].id >= read.LastID:
		return check.Unknown("the new IDs go up to %d, past the last one read before, %d", entries[0].id, read.LastID), nil
	}
	if err := awaitAll(ctx, s, since, fresh); err != nil {
		return check.Result{}, err
	}
	if err := further(ctx, s, 2); err != nil {
		return check.Result{}, err
	}
	lines, _, err := wrote(ctx, s, since)
	if err != nil {
		return check.Result{}, err
	}
	once := 0
	for _, got := range byMarker(lines, fresh) {
		if len(got) == 1 && got[0].RunID == newRun {
			once++
		}
	}
	told := 0
	for _, l := range events(lines, "restart") {
		if l.RunID == newRun && l.LastID >= read.LastID {
			told++
		}
	}
	res := check.Decide(once == after && told == 1, "%d of %d entries after the restart written once, the restart %d times", once, after, told)
	return res.Want("all, once").Of(after).
		Because("run ID %.8s before, with IDs up to %d; %.8s after, with IDs up to %d", oldRun, read.LastID, newRun, entries[0].id), nil
}

// redisDown stops Redis for several polls, and makes slow commands as soon as it is back.
func redisDown(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n, polls = 10, 3
	if code, err := fetch(ctx, s, "/readyz", nil); err != nil {
		return check.Result{}, err
	} else if code != http.StatusOK {
		return check.Unknown("the adapter is not ready before Redis is stopped: %d", code), nil
	}
	before, err := readStatus(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	since := time.Now()
	f, err := s.Stop(ctx, redis)
	if err != nil {
		return check.Result{}, err
	}
	failed, unready := int64(0), 0
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = check.Wait(patient, fmt.Sprintf("%d failed polls", polls), func(ctx context.Context) error {
		st, err := readStatus(ctx, s)
		if err != nil {
			return err
		}
		if unready, err = fetch(ctx, s, "/readyz", nil); err != nil {
			return err
		}
		if failed = st.Failed - before.Failed; failed < polls {
			return fmt.Errorf("%d", failed)
		}
		return nil
	})
	if err != nil {
		return check.Result{}, err
	}
	if err := f.Heal(ctx); err != nil {
		return check.Result{}, err
	}
	markers, err := slow(ctx, s, n, 12*time.Millisecond, 20*time.Millisecond)
	if err != nil {
		return check.Result{}, err
	}
	if err := awaitAll(ctx, s, since, markers); err != nil {
		return check.Result{}, err
	}
	ready, err := fetch(ctx, s, "/readyz", nil)
	if err != nil {
		return check.Result{}, err
	}
	lines, _, err := wrote(ctx, s, since)
	if err != nil {
		return check.Result{}, err
	}
	away, back, once := said(lines, "redis away"), said(lines, "redis back"), 0
	for _, got := range byMarker(lines, markers) {
		if len(got) == 1 {
			once++
		}
	}
	ok := away == 1 && back == 1 && unready == http.StatusServiceUnavailable && ready == http.StatusOK && once == n
	res := check.Decide(ok, "said %d time in %d failed polls, readiness %d, then %d; %d of %d entries written after", away, failed, unready, ready, once, n)
	return res.Want("once, 503, then 200; all").Of(n), nil
}
