package check

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// Stack is a running lab as a claim sees it. It is the only way in which a claim touches the lab.
type Stack struct {
	// Seed is the run's; it is printed, and the same seed draws the same numbers.
	Seed uint64
	// Instance and Variant say which stack this is: "" is the default instance, and the lab unbroken.
	Instance, Variant string

	driver Driver
	claim  string

	mu       sync.Mutex
	rand     *rand.Rand
	closed   bool // the claim is over, and what it leaves has been cleaned up
	faults   []*Fault
	closers  []func() error
	receipts []Receipt
	traffics int // recorded so far
}

// NewStack makes a stack over an engine.
func NewStack(d Driver, seed uint64) *Stack { return &Stack{driver: d, Seed: seed} }

// forClaim is the stack that one claim gets: its own random numbers, its own faults and probes to clean up.
func (s *Stack) forClaim(id string) *Stack {
	return &Stack{driver: s.driver, Seed: s.Seed, Instance: s.Instance, Variant: s.Variant, claim: id}
}

// Rand is the claim's source of random numbers. It depends on the run's seed and the claim alone, so that a claim draws
// the same numbers whichever claims run beside it. Every call gives the same source, which goes on where it was; it
// is for one goroutine at a time.
func (s *Stack) Rand() *rand.Rand {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rand == nil {
		h := fnv.New64a()
		h.Write([]byte(s.claim))
		s.rand = rand.New(rand.NewPCG(s.Seed, h.Sum64()))
	}
	return s.rand
}

// Replicas are a service's containers in the order of their numbers, stopped ones too.
func (s *Stack) Replicas(ctx context.Context, service string) ([]Container, error) {
	cs, err := s.driver.Containers(ctx, service)
	if err != nil {
		return nil, err
	}
	if len(cs) == 0 {
		return nil, fmt.Errorf("service %s: has no container", service)
	}
	return cs, nil
}

// Replica is a service's n-th container, from 1.
func (s *Stack) Replica(ctx context.Context, service string, n int) (Container, error) {
	cs, err := s.Replicas(ctx, service)
	if err != nil {
		return Container{}, err
	}
	for _, c := range cs {
		if c.Number == n {
			return c, nil
		}
	}
	return Container{}, fmt.Errorf("service %s: has no replica %d among %d", service, n, len(cs))
}

// Address is where a service's port is published on this machine, host:port. With several replicas it is the
// first's. Ask again after a restart: an ephemeral port may have changed.
func (s *Stack) Address(ctx context.Context, service string, port int) (string, error) {
	cs, err := s.Replicas(ctx, service)
	if err != nil {
		return "", err
	}
	for _, p := range cs[0].Ports {
		if p.Private == port {
			return p.Address, nil
		}
	}
	return "", fmt.Errorf("service %s: port %d %w", service, port, ErrNotPublished)
}

// ErrNotPublished says that a port cannot be reached from this machine.
var ErrNotPublished = errors.New("is not published")

// State is the engine's view of a service's first replica.
func (s *Stack) State(ctx context.Context, service string) (State, error) {
	c, err := s.Replica(ctx, service, 1)
	if err != nil {
		return State{}, err
	}
	return s.driver.State(ctx, c.ID)
}

// Exec runs a command in a service's first replica. A command that exits with another code than 0 is an Output,
// not an error.
func (s *Stack) Exec(ctx context.Context, service string, cmd ...string) (Output, error) {
	c, err := s.Replica(ctx, service, 1)
	if err != nil {
		return Output{}, err
	}
	return s.driver.Exec(ctx, c.ID, cmd)
}

// Logs are what a service's first replica has written since then.
func (s *Stack) Logs(ctx context.Context, service string, since time.Time) (string, error) {
	c, err := s.Replica(ctx, service, 1)
	if err != nil {
		return "", err
	}
	return s.driver.Logs(ctx, c.ID, since)
}

// ReadFile reads a file as a service's first replica sees it.
func (s *Stack) ReadFile(ctx context.Context, service, path string) ([]byte, error) {
	c, err := s.Replica(ctx, service, 1)
	if err != nil {
		return nil, err
	}
	return s.driver.ReadFile(ctx, c.ID, path)
}

// Record keeps a file with the run, beside its report: a load's histogram, a page that differed.
func (s *Stack) Record(name string, data []byte) error {
	return s.driver.Record(s.claim+"-"+name, data)
}

// Wait asks until what it asks for is so, or ctx ends: then the error is the last answer's that ctx did not cut off. It
// asks again at once after a quick answer at first, and every 50 ms later: it waits for a condition, never for a time.
func Wait(ctx context.Context, what string, ask func(context.Context) error) error {
	pause := 5 * time.Millisecond
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %w)", what, context.Cause(ctx), last)
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// errOver is what a claim gets that goes on after it was given up.
var errOver = errors.New("the claim is over")

// onClose leaves something to do when the claim is over, or does it at once if it is.
func (s *Stack) onClose(f func() error) {
	s.mu.Lock()
	over := s.closed
	if !over {
		s.closers = append(s.closers, f)
	}
	s.mu.Unlock()
	if over {
		f()
	}
}

// keep notes a fault that is about to be done, so that it will be healed.
func (s *Stack) keep(f *Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errOver
	}
	s.faults = append(s.faults, f)
	return nil
}
