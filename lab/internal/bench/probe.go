package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"
)

// workOf is an answer of the probe as work of so many units.
func workOf(a check.ClosedAnswer, units float64) work {
	w := work{
		units: units, seconds: a.Seconds, p50: a.Latency.P50, p99: a.Latency.P99,
		cpu: time.Duration(a.CPU * float64(time.Second)),
	}
	if len(a.Errors) > 0 {
		w.invalid = fmt.Sprintf("%v: %s", a.Errors, strings.Join(a.First, "; "))
	} else if units <= 0 || a.Seconds <= 0 {
		w.invalid = "nothing was done"
	}
	return w
}

// ask runs the probe and reads the last line of what it prints.
func (s *session) ask(ctx context.Context, answer any, args ...string) error {
	p, err := s.driver.Probe(ctx, check.ProbeSpec{Args: args})
	if err != nil {
		return err
	}
	defer p.Close()
	return read(ctx, p, answer)
}

// read decodes the last line of a probe.
func read(ctx context.Context, p check.Process, answer any) error {
	var last []byte
	for {
		line, err := p.Line(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		last = line
	}
	out, err := p.Wait(ctx)
	switch {
	case err != nil:
		return err
	case out.ExitCode != 0:
		return fmt.Errorf("probe: exit code %d: %s", out.ExitCode, strings.TrimSpace(out.Stderr))
	}
	if err := json.Unmarshal(last, answer); err != nil {
		return fmt.Errorf("probe: %w in %q", err, last)
	}
	return nil
}

func (s *session) handshakes(ctx context.Context, l check.Handshakes, at string, length time.Duration) (work, error) {
	var a check.ClosedAnswer
	err := s.ask(ctx, &a, "handshakes", "-insecure", "-connections", strconv.Itoa(l.Connections), "-duration", length.String(), at)
	return workOf(a, float64(a.Done)), err
}

func (s *session) transfer(ctx context.Context, l check.Transfer, url string, length time.Duration, warm bool) (work, error) {
	down := l.Down
	if s.Quick || warm {
		down = max(down/16, min(down, 1<<20))
	}
	args := []string{
		"transfer", "-insecure", "-connections", strconv.Itoa(l.Connections), "-down", strconv.FormatInt(down, 10),
		"-header", "Range: bytes=0-" + strconv.FormatInt(down-1, 10),
	}
	if l.Up > 0 {
		args = append(args, "-data-size", strconv.FormatInt(l.Up, 10))
	}
	if l.Requests > 0 {
		args = append(args, "-requests", strconv.Itoa(l.Requests))
	} else {
		args = append(args, "-duration", length.String())
	}
	var a check.ClosedAnswer
	err := s.ask(ctx, &a, append(args, url)...)
	if l.Requests > 0 {
		a.Latency = check.Latency{} // of one request, it is the rate once more
	}
	return workOf(a, float64(a.Bytes)), err
}

// hold is how long idle connections are kept before the subject's memory is read: what it needed to accept them is over.
const hold = time.Second

// connections are as many as are opened.
func (s *session) connections(l check.Idle) int {
	if s.Quick {
		return max(1, l.Connections/20)
	}
	return l.Connections
}

// idle starts the subject again, so that what earlier loads left in its memory does not count, opens the connections, and
// reads its memory while they are open.
func (s *session) idle(ctx context.Context, l check.Idle, t check.Target, id string) (sample, error) {
	if err := s.engine.Restart(ctx, id); err != nil {
		return sample{}, err
	}
	if err := s.ready(ctx, t.At); err != nil {
		return sample{}, err
	}
	n := s.connections(l)
	args := []string{"idle", "-insecure", "-send", cmp.Or(t.Send, l.Send), "-expect", cmp.Or(t.Expect, l.Expect)}
	if l.TLS {
		args = append(args, "-tls")
	}
	p, err := s.driver.Probe(ctx, check.ProbeSpec{Args: append(args, "-n", strconv.Itoa(n), t.At)})
	if err != nil {
		return sample{}, err
	}
	defer p.Close()
	line, err := p.Line(ctx)
	if errors.Is(err, io.EOF) {
		out, err := p.Wait(ctx)
		return sample{}, errors.Join(err, fmt.Errorf("probe: exit code %d: %s", out.ExitCode, strings.TrimSpace(out.Stderr)))
	}
	if err != nil {
		return sample{}, err
	}
	var a struct {
		Event string `json:"event"`
		check.ClosedAnswer
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return sample{}, fmt.Errorf("probe: %w in %q", err, line)
	}
	if a.Event != "open" {
		w := workOf(a.ClosedAnswer, float64(a.Done))
		if w.invalid == "" {
			w.invalid = "not all connections could be opened"
		}
		return sample{work: w}, nil
	}
	peak := s.follow(ctx, id)
	select {
	case <-time.After(hold):
	case <-ctx.Done():
		peak()
		return sample{}, context.Cause(ctx)
	}
	out := sample{peak: peak()}
	u, err := s.engine.Usage(ctx, id)
	if err != nil {
		return sample{}, err
	}
	if err := errors.Join(p.Stop(ctx), read(ctx, p, &a)); err != nil {
		return sample{}, err
	}
	if a.Done != n {
		out.invalid = fmt.Sprintf("%d of %d connections were kept", a.Done, n)
	}
	out.peak, out.after = max(out.peak, u.Memory), u.Memory
	return out, nil
}
