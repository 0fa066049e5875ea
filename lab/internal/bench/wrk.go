package bench

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"
)

// wrk runs wrk in the service "load".
func (s *session) wrk(ctx context.Context, l check.Wrk, url string, length time.Duration) (work, error) {
	command := []string{
		"wrk", "--latency", "-t", strconv.Itoa(max(1, l.Threads)), "-c", strconv.Itoa(l.Connections),
		"-d", strconv.Itoa(int(length.Seconds())) + "s", "--timeout", "10s", url,
	}
	out, err := s.exec(ctx, command...)
	if err != nil {
		return work{}, err
	}
	if out.ExitCode != 0 {
		return work{invalid: fmt.Sprintf("wrk: exit code %d: %s", out.ExitCode, lines(out))}, nil
	}
	return parseWrk(out.Stdout)
}

var (
	wrkTotal   = regexp.MustCompile(`(?m)^ *(\d+) requests in ([\d.]+(?:us|ms|s|m|h)), `)
	wrkPercent = regexp.MustCompile(`(?m)^ +(\d+)% +([\d.]+(?:us|ms|s|m|h))$`)
	wrkErrors  = regexp.MustCompile(`(?m)^ +(Socket errors: .*|Non-2xx or 3xx responses: .*)$`)
)

// parseWrk reads what wrk prints with --latency.
func parseWrk(text string) (work, error) {
	total := wrkTotal.FindStringSubmatch(text)
	if total == nil {
		return work{}, fmt.Errorf("wrk: no total in what it printed: %q", text)
	}
	var w work
	var err error
	if w.units, err = strconv.ParseFloat(total[1], 64); err != nil {
		return work{}, fmt.Errorf("wrk: %w", err)
	}
	if w.seconds, err = wrkSeconds(total[2]); err != nil || w.seconds <= 0 {
		return work{}, fmt.Errorf("wrk: total %q: %w", total[0], err)
	}
	for _, m := range wrkPercent.FindAllStringSubmatch(text, -1) {
		v, err := wrkSeconds(m[2])
		if err != nil {
			return work{}, fmt.Errorf("wrk: %w", err)
		}
		switch m[1] {
		case "50":
			w.p50 = v
		case "99":
			w.p99 = v
		}
	}
	var failed []string
	for _, m := range wrkErrors.FindAllStringSubmatch(text, -1) {
		failed = append(failed, m[1])
	}
	w.invalid = strings.Join(failed, "; ")
	if w.units == 0 && w.invalid == "" {
		w.invalid = "no request was answered"
	}
	return w, nil
}

// wrkSeconds reads 1.23ms; Go's durations know no fraction of "m" and "h" that wrk would not, nor the other way round.
func wrkSeconds(text string) (float64, error) {
	d, err := time.ParseDuration(text)
	return d.Seconds(), err
}
