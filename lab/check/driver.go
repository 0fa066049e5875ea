package check

import (
	"context"
	"time"
)

// Driver is the engine below a [Stack]. lab/internal/stack has the real one, over Docker; the tests of the verdict
// logic have one that lies. Claims never see it.
type Driver interface {
	// Containers lists a service's containers by replica number, stopped ones too; all services for "".
	Containers(ctx context.Context, service string) ([]Container, error)
	// State is the engine's present view of a container.
	State(ctx context.Context, id string) (State, error)
	// Do does something to a container, and notes it first in a journal that outlives this process, so that a
	// later command can undo it.
	Do(ctx context.Context, id string, a Action) error
	// Undo takes back what Do did, waits until the container serves as before, and clears the note.
	Undo(ctx context.Context, id string, a Action) error
	// Exec runs a command in a running container.
	Exec(ctx context.Context, id string, cmd []string) (Output, error)
	// Logs are what a container has written since then, both streams.
	Logs(ctx context.Context, id string, since time.Time) (string, error)
	// ReadFile reads a file as the container sees it, volumes included.
	ReadFile(ctx context.Context, id, path string) ([]byte, error)
	// Probe starts the probe container.
	Probe(ctx context.Context, spec ProbeSpec) (Process, error)
	// Settled waits until every container of the lab runs and is healthy, or says which is not.
	Settled(ctx context.Context) error
	// Record keeps a file with the run.
	Record(name string, data []byte) error
}

// Container is one replica of a service.
type Container struct {
	ID      string
	Name    string
	Service string
	Number  int // 1 for the first replica
	Ports   []Port
}

// Port is a published port: Address, host:port on this machine, leads to Private inside.
type Port struct {
	Private int
	Address string
}

// State is the engine's view of one container.
type State struct {
	Status    string // created, running, paused, restarting, exited, dead
	Health    string // healthy, unhealthy, starting, or "" where there is no health check
	ExitCode  int
	OOMKilled bool
	StartedAt time.Time
	Restarts  int
	Networks  map[string]string // network name to the container's address in it
}

// Output is what a command left.
type Output struct {
	ExitCode int
	Stdout   string
	Stderr   string
}

// ActionKind is a thing that can be done to a container.
type ActionKind string

// What can be done to a container.
const (
	ActStop       ActionKind = "stop"       // the stop signal, then SIGKILL after Grace; undone by a start
	ActKill       ActionKind = "kill"       // SIGKILL; undone by a start
	ActPause      ActionKind = "pause"      // frozen; undone by unpause
	ActDisconnect ActionKind = "disconnect" // off Network; undone by a reconnect with its old names
	ActSignal     ActionKind = "signal"     // Signal to the main process; undone by the signal Back, and a start where it ended the container
	ActWrite      ActionKind = "write"      // Files into the container; undone by writing what was there before
	ActRun        ActionKind = "run"        // the command Run in the container; undone by the command Undo
)

// Action is a thing to do to a container.
type Action struct {
	Kind    ActionKind        `json:"kind"`
	Signal  string            `json:"signal,omitempty"`  // for ActSignal: SIGHUP, …
	Back    string            `json:"back,omitempty"`    // for ActSignal: the signal that undoes it: SIGCONT, …
	Network string            `json:"network,omitempty"` // for ActDisconnect: its name in the compose file
	Grace   time.Duration     `json:"grace,omitempty"`   // for ActStop, in nanoseconds; zero is the engine's 10 s
	Files   map[string][]byte `json:"files,omitempty"`   // for ActWrite: absolute path to content
	Run     []string          `json:"run,omitempty"`     // for ActRun: the command and its arguments
	Undo    []string          `json:"undo,omitempty"`    // for ActRun: the command that undoes it, however much of it was done
}

// ProbeSpec says what the probe container shall do and where it stands.
type ProbeSpec struct {
	// Beside names a service whose network namespace the probe joins: it then stands inside the pod and sees
	// its loopback. Empty: a container of its own, with its own address in the lab's networks.
	Beside string
	// Network names a network of the compose file that the probe joins, where it stands beside nobody; empty: the
	// lab's default one.
	Network string
	Args    []string
}

// Process is a running probe.
type Process interface {
	// Line is the next line of its standard output; io.EOF after the last.
	Line(ctx context.Context) ([]byte, error)
	// Stop asks it to end and to say what it has so far.
	Stop(ctx context.Context) error
	// Wait is its exit code and standard error.
	Wait(ctx context.Context) (Output, error)
	// Close removes it.
	Close() error
}
