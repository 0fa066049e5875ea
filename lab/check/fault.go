package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrNoEffect says that a fault was done and nothing changed; a claim that rests on it is inconclusive.
var ErrNoEffect = errors.New("the fault had no effect")

// Observe looks at the lab from outside and says what it sees, in a few words. It is asked before a fault, while
// the fault lasts, and after it was healed.
type Observe func(ctx context.Context) (string, error)

// Receipt is the proof that a fault was real: what was seen before, during and after.
type Receipt struct {
	Fault  string `json:"fault"`
	Before string `json:"before"`
	During string `json:"during"`
	After  string `json:"after,omitempty"` // empty: not healed while the claim was measured
}

// Fault is something done to the running lab.
type Fault struct {
	stack     *Stack
	container Container
	action    Action
	observe   Observe
	says      string // in place of the action's own words

	mu      sync.Mutex
	receipt Receipt
	proven  bool // it was seen to change something
	healed  bool
	from    time.Time // when it was about to be done
	to      time.Time // when it had been healed
}

// FaultOption changes how a fault is done or proved.
type FaultOption func(*Fault)

// Seen adds an observation of the claim's own to the engine's; the fault then counts only when it changes too.
func Seen(o Observe) FaultOption { return func(f *Fault) { f.observe = o } }

// Replica chooses a service's n-th replica, from 1, in place of the first.
func Replica(n int) FaultOption { return func(f *Fault) { f.container.Number = n } }

// Grace is how long a stop waits before it kills, in place of the engine's 10 s.
func Grace(d time.Duration) FaultOption { return func(f *Fault) { f.action.Grace = d } }

// Back is the signal that undoes a Signal: SIGCONT for SIGSTOP. Without one a container that the signal ended is started.
func Back(signal string) FaultOption { return func(f *Fault) { f.action.Back = signal } }

// Stop sends the stop signal and waits until the container is gone. Heal starts it again.
func (s *Stack) Stop(ctx context.Context, service string, opts ...FaultOption) (*Fault, error) {
	return s.inject(ctx, service, Action{Kind: ActStop}, opts)
}

// Kill ends a container with SIGKILL. Heal starts it again.
func (s *Stack) Kill(ctx context.Context, service string, opts ...FaultOption) (*Fault, error) {
	return s.inject(ctx, service, Action{Kind: ActKill}, opts)
}

// Pause freezes a container: its connections stay open and nothing answers. Heal lets it go on.
func (s *Stack) Pause(ctx context.Context, service string, opts ...FaultOption) (*Fault, error) {
	return s.inject(ctx, service, Action{Kind: ActPause}, opts)
}

// Disconnect takes a container off a network, named as in the compose file. Heal puts it back under its old names.
func (s *Stack) Disconnect(ctx context.Context, service, network string, opts ...FaultOption) (*Fault, error) {
	return s.inject(ctx, service, Action{Kind: ActDisconnect, Network: network}, opts)
}

// Signal sends a signal to a container's main process. The engine cannot see that it took effect: observe must.
func (s *Stack) Signal(ctx context.Context, service, signal string, observe Observe, opts ...FaultOption) (*Fault, error) {
	return s.inject(ctx, service, Action{Kind: ActSignal, Signal: signal}, append([]FaultOption{Seen(observe)}, opts...))
}

// Write puts files, absolute path to content, into a container, as `docker cp` does: not atomically, which is the
// point of it. Heal writes what was there before; the engine has no way to remove a file that was not. The receipt
// is the files' content.
func (s *Stack) Write(ctx context.Context, service string, files map[string][]byte, opts ...FaultOption) (*Fault, error) {
	return s.inject(ctx, service, Action{Kind: ActWrite, Files: files}, opts)
}

// Run runs a command in a container that breaks something the engine knows nothing of: a table, a setting. It must exit
// 0. Heal runs undo there until that exits 0, for the server may be starting; it must do no harm twice, nor where run
// did not get far. observe must see the effect. Receipts name the fault by says, not by the command.
func (s *Stack) Run(ctx context.Context, service, says string, run, undo []string, observe Observe, opts ...FaultOption) (*Fault, error) {
	opts = append([]FaultOption{Seen(observe), func(f *Fault) { f.says = says }}, opts...)
	return s.inject(ctx, service, Action{Kind: ActRun, Run: run, Undo: undo}, opts)
}

func (s *Stack) inject(ctx context.Context, service string, a Action, opts []FaultOption) (*Fault, error) {
	f := &Fault{stack: s, action: a, container: Container{Number: 1}}
	for _, o := range opts {
		o(f)
	}
	c, err := s.Replica(ctx, service, f.container.Number)
	if err != nil {
		return nil, err
	}
	f.container = c
	f.receipt.Fault = strings.TrimSpace(string(a.Kind) + " " + c.Name + " " + cmp.Or(f.says, a.detail()))
	if f.receipt.Before, err = f.look(ctx); err != nil {
		return nil, fmt.Errorf("%s: before: %w", f.receipt.Fault, err)
	}
	if err := s.keep(f); err != nil {
		return nil, fmt.Errorf("%s: %w", f.receipt.Fault, err)
	}
	f.mu.Lock()
	f.from = time.Now()
	f.mu.Unlock()
	if err := s.driver.Do(ctx, c.ID, f.action); err != nil {
		return nil, fmt.Errorf("%s: %w", f.receipt.Fault, err)
	}
	if err := f.changed(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", f.receipt.Fault, err)
	}
	return f, nil
}

// changed waits until the fault is seen. What a claim observes of its own may lag, so it is asked until it changes
// or the claim's time is up.
func (f *Fault) changed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return Wait(ctx, "an effect", func(ctx context.Context) error {
		seen, err := f.look(ctx)
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.receipt.During = seen
		if !differs(f.receipt.Before, seen) {
			return fmt.Errorf("%w: before and during it was %q", ErrNoEffect, seen)
		}
		f.proven = true
		return nil
	})
}

// look is what can be seen of the fault's target. Parts that stand between bars are compared one by one: each of
// them must change.
func (f *Fault) look(ctx context.Context) (string, error) {
	var parts []string
	switch f.action.Kind {
	case ActSignal, ActRun: // the engine sees nothing
	case ActWrite:
		for _, path := range slices.Sorted(maps.Keys(f.action.Files)) {
			data, err := f.stack.driver.ReadFile(ctx, f.container.ID, path)
			if errors.Is(err, fs.ErrNotExist) {
				parts = append(parts, path+" absent")
				continue
			}
			if err != nil {
				return "", err
			}
			parts = append(parts, fmt.Sprintf("%s %d bytes %s", path, len(data), digest(data)))
		}
	default:
		st, err := f.stack.driver.State(ctx, f.container.ID)
		if err != nil {
			return "", err
		}
		parts = append(parts, st.describe(f.action))
	}
	if f.observe != nil {
		seen, err := f.observe(ctx)
		if err != nil {
			return "", err
		}
		parts = append(parts, seen)
	}
	if len(parts) == 0 {
		return "", fmt.Errorf("a %s needs an observation: the engine cannot see its effect", f.action.Kind)
	}
	return strings.Join(parts, " | "), nil
}

func differs(before, during string) bool {
	b, d := strings.Split(before, " | "), strings.Split(during, " | ")
	if len(b) != len(d) {
		return during != "" && before != during
	}
	for i := range b {
		if b[i] == d[i] {
			return false
		}
	}
	return true
}

// Proven says whether the fault was seen to change what was observed.
func (f *Fault) Proven() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.proven
}

// Receipt is the proof so far.
func (f *Fault) Receipt() Receipt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.receipt
}

// Heal undoes the fault, waits until the container serves as before, and looks once more. A second call does
// nothing. What a claim does not heal itself is healed when the claim ends.
func (f *Fault) Heal(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.healed {
		return nil
	}
	if err := f.stack.driver.Undo(ctx, f.container.ID, f.action); err != nil {
		return fmt.Errorf("heal %s: %w", f.receipt.Fault, err)
	}
	f.healed, f.to = true, time.Now()
	after, err := f.look(ctx)
	if err != nil {
		after = "cannot see: " + err.Error()
	}
	f.receipt.After = after
	return nil
}

func (a Action) detail() string {
	switch a.Kind {
	case ActSignal:
		return a.Signal
	case ActDisconnect:
		return "from " + a.Network
	case ActWrite:
		return strings.Join(slices.Sorted(maps.Keys(a.Files)), " ")
	}
	return ""
}

func (st State) describe(a Action) string {
	if a.Kind == ActDisconnect {
		return "on networks " + strings.Join(slices.Sorted(maps.Keys(st.Networks)), ", ")
	}
	if st.Status == "exited" {
		return fmt.Sprintf("exited with code %d", st.ExitCode)
	}
	return st.Status
}
