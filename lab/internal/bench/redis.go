package bench

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"
)

// redis runs redis-benchmark in the service "load". It takes a number of commands, not a time: the number follows from
// the rate of the run before.
func (s *session) redis(ctx context.Context, l check.RedisBenchmark, at, key string, length time.Duration) (work, error) {
	n := 20000 * min(l.Pipeline, 10)
	if rate := s.rates[key]; rate > 0 {
		n = max(1000, int(rate*length.Seconds()))
	}
	host, port := hostPort(at)
	command := []string{
		"redis-benchmark", "-h", host, "-p", port, "-n", strconv.Itoa(n), "-c", strconv.Itoa(l.Clients),
		"-P", strconv.Itoa(l.Pipeline), "--csv", "--precision", "3",
	}
	if l.Keys > 0 {
		command = append(command, "-r", strconv.Itoa(l.Keys))
	}
	out, err := s.exec(ctx, append(command, l.Command...)...)
	if err != nil {
		return work{}, err
	}
	w, err := parseRedis(out.Stdout)
	switch {
	case out.ExitCode != 0 || strings.Contains(out.Stderr+out.Stdout, "Error from server"):
		return work{invalid: fmt.Sprintf("redis-benchmark: exit code %d: %s", out.ExitCode, lines(out))}, nil
	case err != nil:
		return work{}, fmt.Errorf("%w: %s", err, lines(out))
	}
	s.rates[key] = w.units
	w.units, w.seconds = float64(n), float64(n)/w.units
	return w, nil
}

// parseRedis reads the table that redis-benchmark prints with --csv; units are those of a second.
func parseRedis(text string) (work, error) {
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		return work{}, fmt.Errorf("redis-benchmark: %w", err)
	}
	if len(records) != 2 {
		return work{}, fmt.Errorf("redis-benchmark: %d lines, not a head and a row", len(records))
	}
	value := map[string]float64{}
	for i, name := range records[0] {
		if v, err := strconv.ParseFloat(records[1][i], 64); err == nil {
			value[name] = v
		}
	}
	w := work{units: value["rps"], p50: value["p50_latency_ms"] / 1000, p99: value["p99_latency_ms"] / 1000}
	if w.units <= 0 {
		return work{}, fmt.Errorf("redis-benchmark: no rate in %q", text)
	}
	return w, nil
}
