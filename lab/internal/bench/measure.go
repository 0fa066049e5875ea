package bench

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"distlab/lab/check"
	"distlab/lab/internal/stack"
)

// work is what a load generator got done.
type work struct {
	units    float64
	seconds  float64
	p50, p99 float64       // seconds; 0 where nothing was timed
	cpu      time.Duration // of the generator itself, where it is no service of the stack
	invalid  string        // why this is no measurement: errors, above all
}

// sample is one measurement of one subject.
type sample struct {
	work
	took            time.Duration // of the whole load, as the CPU is counted
	spent           time.Duration // CPU of the subject
	backend, loader time.Duration // CPU of these
	others          time.Duration // CPU of all else on the machine, where that is known
	peak, after     int64
}

// sampling is how often the subject's memory is looked at under load.
const sampling = 250 * time.Millisecond

// measure puts a workload on a target once. A warm-up may be shorter.
func (s *session) measure(ctx context.Context, w check.Workload, t check.Target, warm bool) (sample, error) {
	sub, _ := s.bench.Subject(t.Subject)
	id := s.services[sub.Service]
	if idle, ok := w.Load.(check.Idle); ok {
		return s.idle(ctx, idle, t, id)
	}
	before, err := s.counters(ctx, sub)
	if err != nil {
		return sample{}, err
	}
	begun := time.Now()
	peak := s.follow(ctx, id)
	done, err := s.load(ctx, w, t, warm)
	out := sample{work: done, took: time.Since(begun), peak: peak()}
	if err != nil {
		return sample{}, err
	}
	after, err := s.counters(ctx, sub)
	if err != nil {
		return sample{}, err
	}
	out.spent = after.subject.CPU - before.subject.CPU
	out.backend = after.backend - before.backend
	out.loader = after.loader - before.loader + done.cpu
	if after.busy > 0 && done.cpu == 0 { // starting a probe is work of the machine too
		out.others = max(0, after.busy-before.busy-out.spent-out.backend-out.loader)
	}
	out.after = after.subject.Memory
	out.peak = max(out.peak, out.after)
	return out, nil
}

// counters are the containers' counts at one time.
type counters struct {
	subject         stack.Usage
	backend, loader time.Duration
	busy            time.Duration // all that the machine's CPUs have done
}

func (s *session) counters(ctx context.Context, sub check.Subject) (c counters, err error) {
	if c.subject, err = s.engine.Usage(ctx, s.services[sub.Service]); err != nil {
		return c, err
	}
	for _, name := range s.bench.Backends {
		if name == sub.Service {
			continue
		}
		u, err := s.engine.Usage(ctx, s.services[name])
		if err != nil {
			return c, err
		}
		c.backend += u.CPU
	}
	if id := s.services[LoadService]; id != "" {
		u, err := s.engine.Usage(ctx, id)
		if err != nil {
			return c, err
		}
		c.loader = u.CPU
	}
	c.busy, _ = s.engine.Busy()
	return c, nil
}

// follow watches a container's memory until the func that it returns is called, which gives the highest value seen.
func (s *session) follow(ctx context.Context, id string) func() int64 {
	ctx, cancel := context.WithCancel(ctx)
	var peak int64
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(sampling)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if u, err := s.engine.Usage(ctx, id); err == nil {
				peak = max(peak, u.Memory)
			}
		}
	})
	return func() int64 {
		cancel()
		done.Wait()
		return peak
	}
}

// load runs the generator of a workload.
func (s *session) load(ctx context.Context, w check.Workload, t check.Target, warm bool) (work, error) {
	length := s.Length
	if _, wrk := w.Load.(check.Wrk); !wrk || warm {
		length = max(time.Second, length/2) // wrk counts the time in which it connects: in a longer run it is little
	}
	switch l := w.Load.(type) {
	case check.Wrk:
		return s.wrk(ctx, l, t.At, length)
	case check.RedisBenchmark:
		return s.redis(ctx, l, t.At, w.ID+" "+t.Subject, length)
	case check.Handshakes:
		return s.handshakes(ctx, l, t.At, length)
	case check.Transfer:
		return s.transfer(ctx, l, t.At, length, warm)
	}
	return work{}, fmt.Errorf("no generator for %T", w.Load)
}

// ready waits until a target accepts connections: a container that runs need not listen yet.
func (s *session) ready(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, fmt.Errorf("%s does not accept connections", at))
	defer cancel()
	return check.Wait(ctx, "a listener at "+at, func(ctx context.Context) error {
		var a check.TCPAnswer
		if err := s.ask(ctx, &a, "tcp", "-timeout", "2s", at); err != nil {
			return err
		}
		if a.Error != "" {
			return fmt.Errorf("%s: %s", at, a.Error)
		}
		return nil
	})
}

// prepare waits for the targets and runs the workload's own preparations.
func (s *session) prepare(ctx context.Context, w check.Workload) error {
	for _, t := range w.Targets {
		host, port := hostPort(t.At)
		if at := net.JoinHostPort(host, port); !s.up[at] {
			if err := s.ready(ctx, at); err != nil {
				return err
			}
			s.up[at] = true
		}
		for _, command := range w.Prepare {
			command = slices.Clone(command)
			for i := range command {
				command[i] = strings.NewReplacer("{host}", host, "{port}", port).Replace(command[i])
			}
			out, err := s.exec(ctx, command...)
			if err != nil {
				return err
			}
			if out.ExitCode != 0 {
				return fmt.Errorf("prepare %s: %s: exit code %d: %s", t.Subject, strings.Join(command, " "), out.ExitCode, lines(out))
			}
		}
	}
	return nil
}

func (s *session) exec(ctx context.Context, command ...string) (check.Output, error) {
	id := s.services[LoadService]
	if id == "" {
		return check.Output{}, fmt.Errorf("bench/compose.yaml has no service %s to run %s in", LoadService, command[0])
	}
	return s.driver.Exec(ctx, id, command)
}

// lines are what a command said, shortened.
func lines(out check.Output) string {
	text := strings.Join(strings.Fields(out.Stdout+" "+out.Stderr), " ")
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}

// hostPort is where a target listens.
func hostPort(at string) (host, port string) {
	if u, err := url.Parse(at); err == nil && u.Host != "" {
		return u.Hostname(), u.Port()
	}
	host, port, _ = net.SplitHostPort(at)
	return host, port
}
