package check

import (
	"fmt"
	"slices"
	"strings"
)

// Bench compares a lab's container with the programs that people use for the same job. It is data: `lab bench` starts the
// stack in the lab's bench/compose.yaml, puts the same load on each subject in turn, and reports values and ratios.
//
//	Bench: &check.Bench{
//		Says:     "what HTTPS costs in front of the same web server",
//		Backends: []string{"backend"},
//		Subjects: []check.Subject{
//			{Name: "tls-sidecar", Service: "sidecar", Role: check.Ours, Says: "HTTP mode"},
//			{Name: "nginx", Service: "nginx", Role: check.Counterpart, Says: "proxy_pass"},
//		},
//		Workloads: []check.Workload{{
//			ID: "keep-alive", Says: "GET of 1 KB over TLS 1.3, 64 kept connections",
//			Load:    check.Wrk{Connections: 64},
//			Targets: []check.Target{{Subject: "tls-sidecar", At: "https://pod:8443/small"}, {Subject: "nginx", At: "https://pod:8446/small"}},
//			Pairs: []check.Pair{{"tls-sidecar", "nginx", []check.Goal{{Metric: check.Rate, AtLeast: 0.9}}}},
//		}},
//	}
type Bench struct {
	Says     string // what is compared, in a sentence
	Subjects []Subject
	// Backends are the services that every subject passes its work on to; what CPU they take is reported beside the
	// subject's own.
	Backends  []string
	Workloads []Workload
}

// Role is what a subject is in the comparison.
type Role string

// The roles.
const (
	Ours        Role = "ours"
	Counterpart Role = "counterpart"
	// Ceiling is not compared with: the backend without anything before it, or a responder that does next to nothing.
	// It shows how far the load generator and the backend go.
	Ceiling Role = "ceiling"
)

// Subject is one program under load: a service of bench/compose.yaml.
type Subject struct {
	Name    string // as the tables have it
	Service string
	Role    Role
	Says    string // how it is configured, in a few words
}

// Workload is one kind of load, put on each of its targets.
type Workload struct {
	ID   string // short, lower case: what people type
	Says string // the load, with its numbers
	Load LoadKind
	// Prepare are commands that the service "load" runs once for each target before the first measurement; {host}
	// and {port} are the target's.
	Prepare [][]string
	Targets []Target
	Pairs   []Pair
}

// Target is where a workload meets a subject, as seen from the stack's network: a URL, or HOST:PORT for loads that
// speak no HTTP.
type Target struct {
	Subject string
	At      string
	// Send and Expect stand in place of those of an [Idle] load, for a subject that speaks another protocol.
	Send, Expect string
}

// Pair is a comparison that is printed: a subject of ours with a counterpart.
type Pair struct {
	Subject, Against string
	Goals            []Goal
}

// Metric is something that is measured of a subject under a workload.
type Metric string

// The metrics. A ratio of Rate above one is better, of the others one below.
const (
	Rate   Metric = "rate"   // units of work a second
	P50    Metric = "p50"    // half of the units took at most so long
	P99    Metric = "p99"    // 99 of 100 did
	CPU    Metric = "cpu"    // CPU seconds for a thousand units
	Memory Metric = "memory" // resident bytes, anonymous memory: the highest seen under the load
)

// Metrics are all, in the order of the tables.
var Metrics = []Metric{Rate, P50, P99, CPU, Memory}

// Goal is where a ratio must get. One of the bounds is set.
type Goal struct {
	Metric  Metric
	AtLeast float64
	AtMost  float64
}

// String is the goal as a condition on the ratio.
func (g Goal) String() string {
	if g.AtLeast > 0 {
		return fmt.Sprintf("≥ %.3g", g.AtLeast)
	}
	return fmt.Sprintf("≤ %.3g", g.AtMost)
}

// LoadKind is how a workload loads: one of the types below. All are closed models: each connection waits for its answer
// before it asks again.
type LoadKind interface {
	// Unit is what is counted, in the plural: requests, handshakes, bytes.
	Unit() string
	check(at string) error
}

// Wrk is wrk in the service "load": GET requests over kept connections.
type Wrk struct {
	Connections int
	Threads     int // default 1
}

// RedisBenchmark is redis-benchmark in the service "load".
type RedisBenchmark struct {
	Clients  int
	Pipeline int      // commands sent before their replies are awaited
	Keys     int      // __rand_int__ in the command is a number below it
	Command  []string // SET key:__rand_int__ value
}

// Handshakes are full TLS 1.3 handshakes by the probe, each on a connection of its own that ends with an orderly close:
// no session is resumed, and X25519 is the only key agreement that is offered.
type Handshakes struct{ Connections int }

// Transfer are HTTP requests with large bodies by the probe, over kept connections. It counts bytes of bodies, both ways.
type Transfer struct {
	Connections int
	Down        int64 // bytes of each answer: asked for as a range of the target's file
	Up          int64 // bytes of each request's body, if any
	// Requests is how many each connection makes; 0: as many as there is time for.
	Requests int
}

// Idle are connections by the probe that are used once and then kept open: what they cost in memory is measured.
type Idle struct {
	Connections int
	TLS         bool
	Send        string // on each connection, once
	Expect      string // and this is waited for in what comes back
}

// Unit implements [LoadKind].
func (Wrk) Unit() string { return "requests" }

// Unit implements [LoadKind].
func (RedisBenchmark) Unit() string { return "commands" }

// Unit implements [LoadKind].
func (Handshakes) Unit() string { return "handshakes" }

// Unit implements [LoadKind].
func (Transfer) Unit() string { return "bytes" }

// Unit implements [LoadKind].
func (Idle) Unit() string { return "connections" }

func (l Wrk) check(at string) error {
	return needs(l.Connections > 0 && isURL(at), "connections and a URL")
}

func (l RedisBenchmark) check(at string) error {
	return needs(l.Clients > 0 && l.Pipeline > 0 && len(l.Command) > 0 && isHostPort(at), "clients, a pipeline, a command and HOST:PORT")
}

func (l Handshakes) check(at string) error {
	return needs(l.Connections > 0 && isHostPort(at), "connections and HOST:PORT")
}

func (l Transfer) check(at string) error {
	return needs(l.Connections > 0 && l.Down > 0 && isURL(at), "connections, a length and a URL")
}

func (l Idle) check(at string) error {
	return needs(l.Connections > 0 && l.Send != "" && l.Expect != "" && isHostPort(at), "connections, a request, its answer and HOST:PORT")
}

func needs(ok bool, what string) error {
	if !ok {
		return fmt.Errorf("needs %s", what)
	}
	return nil
}

func isURL(at string) bool {
	return strings.HasPrefix(at, "http://") || strings.HasPrefix(at, "https://")
}

func isHostPort(at string) bool { return !strings.Contains(at, "/") && strings.Count(at, ":") == 1 }

// Subject returns the subject of that name.
func (b Bench) Subject(name string) (Subject, bool) {
	for _, s := range b.Subjects {
		if s.Name == name {
			return s, true
		}
	}
	return Subject{}, false
}

// Workload returns the workload of that ID.
func (b Bench) Workload(id string) (Workload, bool) {
	for _, w := range b.Workloads {
		if w.ID == id {
			return w, true
		}
	}
	return Workload{}, false
}

// Validate reports what is wrong with a declaration.
func (b Bench) Validate() error {
	if b.Says == "" || len(b.Subjects) == 0 || len(b.Workloads) == 0 {
		return fmt.Errorf("bench: needs a sentence, subjects and workloads")
	}
	for i, s := range b.Subjects {
		switch {
		case s.Name == "" || s.Service == "" || s.Says == "":
			return fmt.Errorf("bench: subject %q: needs a name, a service and a few words", s.Name)
		case s.Role != Ours && s.Role != Counterpart && s.Role != Ceiling:
			return fmt.Errorf("bench: subject %s: no role %q", s.Name, s.Role)
		case slices.ContainsFunc(b.Subjects[:i], func(o Subject) bool { return o.Name == s.Name }):
			return fmt.Errorf("bench: subject %s is declared twice", s.Name)
		}
	}
	for i, w := range b.Workloads {
		if slices.ContainsFunc(b.Workloads[:i], func(o Workload) bool { return o.ID == w.ID }) {
			return fmt.Errorf("bench: workload %s is declared twice", w.ID)
		}
		if err := b.validate(w); err != nil {
			return fmt.Errorf("bench: workload %s: %w", w.ID, err)
		}
	}
	return nil
}

func (b Bench) validate(w Workload) error {
	if !word.MatchString(w.ID) || w.Says == "" || w.Load == nil || len(w.Targets) == 0 {
		return fmt.Errorf("needs an ID in lower case, a sentence, a load and targets")
	}
	targeted := map[string]bool{}
	for _, t := range w.Targets {
		if _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject] {
			return fmt.Errorf("target %s is not a subject, or stands there twice", t.Subject)
		}
		targeted[t.Subject] = true
		if err := w.Load.check(t.At); err != nil {
			return fmt.Errorf("target %s: %T %w", t.Subject, w.Load, err)
		}
	}
	for _, p := range w.Pairs {
		if !targeted[p.Subject] || !targeted[p.Against] || p.Subject == p.Against {
			return fmt.Errorf("pair %s and %s: not two targets of the workload", p.Subject, p.Against)
		}
		for _, g := range p.Goals {
			if !slices.Contains(Metrics, g.Metric) || (g.AtLeast > 0) == (g.AtMost > 0) {
				return fmt.Errorf("pair %s and %s: a goal is a metric with one bound", p.Subject, p.Against)
			}
		}
	}
	return nil
}
