package slowlog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// exactlyOnce makes slow commands in several goes, so that they fall into several polls, and compares the lines with
// what another reader of Redis's log sees. A few polls later it counts: an entry that is written again is wrong too.
func exactlyOnce(ctx context.Context, s *check.Stack) (check.Result, error) {
	const goes, each = 4, 10
	since := time.Now()
	var markers []string
	for range goes {
		more, err := slow(ctx, s, each, 12*time.Millisecond, 30*time.Millisecond)
		if err != nil {
			return check.Result{}, err
		}
		markers = append(markers, more...)
	}
	entries, err := slowlog(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	truth := logged(entries, markers)
	if len(truth) != len(markers) {
		return check.Unknown("Redis's own log has %d of %d slow commands", len(truth), len(markers)), nil
	}
	if err := awaitAll(ctx, s, since, markers); err != nil {
		return check.Result{}, err
	}
	if err := further(ctx, s, 3); err != nil {
		return check.Result{}, err
	}
	lines, text, err := wrote(ctx, s, since)
	if err != nil {
		return check.Result{}, err
	}
	if err := s.Record("adapter.log", []byte(text)); err != nil {
		return check.Result{}, err
	}
	found := byMarker(lines, markers)
	once, right := 0, 0
	var wrong []string
	for _, m := range markers {
		e, got := truth[m], found[m]
		if len(got) == 1 {
			once++
			l := got[0]
			if l.ID == e.id && l.DurationUS == e.us && l.Time == time.Unix(e.unix, 0).UTC().Format(time.RFC3339) {
				right++
				continue
			}
		}
		wrong = append(wrong, fmt.Sprintf("%s: Redis has %+v, written were %+v", m, e, got))
	}
	res := check.Decide(right == len(markers), "%d of %d written once, %d with Redis's ID, time and duration", once, len(markers), right)
	return res.Want("all").Of(len(markers)).Because("%s", strings.Join(wrong, "\n")), nil
}

// ownLeftOut has Redis log every command. Then its log has the adapter's own, or nothing is shown.
func ownLeftOut(ctx context.Context, s *check.Stack) (check.Result, error) {
	const polls = 5
	since := time.Now()
	var markers []string
	var entries []entry
	err := everything(ctx, s, func() error {
		if err := further(ctx, s, polls); err != nil {
			return err
		}
		var err error
		if markers, err = slow(ctx, s, 1, 12*time.Millisecond, 12*time.Millisecond); err != nil {
			return err
		}
		entries, err = slowlog(ctx, s)
		return err
	})
	if err != nil {
		return check.Result{}, err
	}
	own := 0
	for _, e := range entries {
		if strings.HasPrefix(e.clientName, ownName) {
			own++
		}
	}
	if own < polls-1 {
		return check.Unknown("Redis logged %d commands of the adapter in %d polls", own, polls), nil
	}
	if err := awaitAll(ctx, s, since, markers); err != nil {
		return check.Result{}, err
	}
	lines, _, err := wrote(ctx, s, since)
	if err != nil {
		return check.Result{}, err
	}
	if len(byMarker(lines, markers)) == 0 {
		return check.Unknown("a slow command after them was not written either"), nil
	}
	written := 0
	for _, l := range events(lines, "slow") {
		if strings.HasPrefix(l.ClientName, ownName) || len(l.Argv) > 0 && l.Argv[0] == "SLOWLOG" {
			written++
		}
	}
	return check.Decide(written == 0, "%d of %d own entries written", written, own).Want("none").Of(own), nil
}

// redacted gives each command that must be hidden a secret of its own. Redis hides some itself; those that its log
// shows to every reader are the sample that matters. A command that need not be hidden shows that arguments are written.
func redacted(ctx context.Context, s *check.Stack) (check.Result, error) {
	since := time.Now()
	tag := time.Now().UnixNano()
	secret := func(i int) string { return fmt.Sprintf("secret-%d-%d", tag, i) }
	shown := fmt.Sprintf("shown-%d", tag)
	hidden := []string{
		"auth nobody " + secret(0),
		"hello 2 auth nobody " + secret(1),
		"config get " + secret(2),
		"acl setuser lab-nobody >" + secret(3),
		"acl deluser " + secret(4),
		"setex lab-session 1 " + secret(5),
		"client setinfo lib-name " + secret(6),
	}
	err := everything(ctx, s, func() error {
		_, err := cli(ctx, s, slices.Concat(hidden, []string{"acl deluser lab-nobody", "get " + shown})...)
		return err
	})
	if err != nil {
		return check.Result{}, err
	}
	entries, err := slowlog(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	if err := awaitAll(ctx, s, since, []string{shown}); err != nil {
		return check.Result{}, err
	}
	lines, text, err := wrote(ctx, s, since)
	if err != nil {
		return check.Result{}, err
	}
	if len(byMarker(lines, []string{shown})) != 1 {
		return check.Unknown("the arguments of GET were not written either"), nil
	}
	inRedis, leaked, entriesSeen := 0, 0, 0
	for i := range hidden {
		if slices.ContainsFunc(entries, func(e entry) bool { return strings.Contains(strings.Join(e.args, " "), secret(i)) }) {
			inRedis++
		}
		if strings.Contains(text, secret(i)) {
			leaked++
		}
	}
	if inRedis < 3 {
		return check.Unknown("Redis's own log shows %d of %d secrets: too few could leak", inRedis, len(hidden)), nil
	}
	for _, l := range events(lines, "slow") {
		if n := len(l.Argv); n > 1 && l.Argv[n-1] == "(redacted)" {
			entriesSeen++
		}
	}
	res := check.Decide(leaked == 0 && entriesSeen >= len(hidden), "%d of %d secrets written (Redis's own log shows %d), %d entries redacted",
		leaked, len(hidden), inRedis, entriesSeen)
	return res.Want("none written, %d entries at least", len(hidden)).Of(len(hidden)), nil
}

// nonDestructive lets the adapter read and poll on, and then counts what another reader sees.
func nonDestructive(ctx context.Context, s *check.Stack) (check.Result, error) {
	const n = 20
	since := time.Now()
	before, err := resets(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	markers, err := slow(ctx, s, n, 12*time.Millisecond, 20*time.Millisecond)
	if err != nil {
		return check.Result{}, err
	}
	if err := awaitAll(ctx, s, since, markers); err != nil {
		return check.Result{}, err
	}
	if err := further(ctx, s, 2); err != nil {
		return check.Result{}, err
	}
	lines, _, err := wrote(ctx, s, since)
	if err != nil {
		return check.Result{}, err
	}
	read := len(byMarker(lines, markers))
	if read == 0 {
		return check.Unknown("the adapter has read none of %d entries", n), nil
	}
	entries, err := slowlog(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	after, err := resets(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	left := len(logged(entries, markers))
	res := check.Decide(left == n && after == before, "another reader sees %d of %d entries, SLOWLOG RESET was called %d times", left, n, after-before)
	return res.Want("all, never").Of(n).Because("the adapter wrote %d of them", read), nil
}

// resets is how often SLOWLOG RESET was called since Redis started.
func resets(ctx context.Context, s *check.Stack) (int, error) {
	out, err := cli(ctx, s, "info commandstats")
	if err != nil {
		return 0, err
	}
	for row := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(row, "cmdstat_slowlog|reset:calls="); ok {
			var n int
			_, err := fmt.Sscanf(rest, "%d", &n)
			return n, err
		}
	}
	return 0, nil
}
