package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// The methods of this file are those of Stack, with an error as the measurement's end, and what claims ask of a lab's
// services from this machine.

// HTTP sends one request from a probe: [Stack.HTTP].
func (m *M) HTTP(from Place, args ...string) HTTPAnswer {
	return Got(m.Stack.HTTP(m.ctx, from, args...))
}

// HTTPEach sends one request to each URL from one probe: [Stack.HTTPEach].
func (m *M) HTTPEach(from Place, flags []string, urls ...string) []HTTPAnswer {
	return Got(m.Stack.HTTPEach(m.ctx, from, flags, urls...))
}

// TCP opens one connection from a probe: [Stack.TCP].
func (m *M) TCP(from Place, args ...string) TCPAnswer { return Got(m.Stack.TCP(m.ctx, from, args...)) }

// TLS makes one handshake from a probe: [Stack.TLS].
func (m *M) TLS(from Place, args ...string) TLSAnswer { return Got(m.Stack.TLS(m.ctx, from, args...)) }

// Sockets are the addresses at which the pod of a service listens: [Stack.Sockets].
func (m *M) Sockets(service string) []string { return Got(m.Stack.Sockets(m.ctx, service)) }

// Replicas are a service's containers: [Stack.Replicas].
func (m *M) Replicas(service string) []Container { return Got(m.Stack.Replicas(m.ctx, service)) }

// Address is where a service's port is published on this machine: [Stack.Address].
func (m *M) Address(service string, port int) string {
	return Got(m.Stack.Address(m.ctx, service, port))
}

// State is the engine's view of a service's first replica: [Stack.State].
func (m *M) State(service string) State { return Got(m.Stack.State(m.ctx, service)) }

// Try runs a command in a service's first replica, whatever its exit code: [Stack.Exec].
func (m *M) Try(service string, cmd ...string) Output {
	return Got(m.Stack.Exec(m.ctx, service, cmd...))
}

// Exec runs a command in a service's first replica and is what it printed, without the space around it. A command that
// fails ends the measurement.
func (m *M) Exec(service string, cmd ...string) string {
	out := m.Try(service, cmd...)
	if out.ExitCode != 0 {
		Must(fmt.Errorf("%s in %s: exit code %d: %s", cmd[0], service, out.ExitCode, strings.TrimSpace(out.Stderr+out.Stdout)))
	}
	return strings.TrimSpace(out.Stdout)
}

// ReadFile reads a file as a service's first replica sees it: [Stack.ReadFile].
func (m *M) ReadFile(service, path string) []byte { return Got(m.Stack.ReadFile(m.ctx, service, path)) }

// Logs are what a service's first replica has written since then: [Stack.Logs].
func (m *M) Logs(service string, since time.Time) string {
	return Got(m.Stack.Logs(m.ctx, service, since))
}

// Record keeps a file with the run: [Stack.Record].
func (m *M) Record(name string, data []byte) { Must(m.Stack.Record(name, data)) }

// Stop sends the stop signal and waits until the container is gone: [Stack.Stop].
func (m *M) Stop(service string, opts ...FaultOption) *Fault {
	return Got(m.Stack.Stop(m.ctx, service, opts...))
}

// Kill ends a container with SIGKILL: [Stack.Kill].
func (m *M) Kill(service string, opts ...FaultOption) *Fault {
	return Got(m.Stack.Kill(m.ctx, service, opts...))
}

// Pause freezes a container: [Stack.Pause].
func (m *M) Pause(service string, opts ...FaultOption) *Fault {
	return Got(m.Stack.Pause(m.ctx, service, opts...))
}

// Disconnect takes a container off a network: [Stack.Disconnect].
func (m *M) Disconnect(service, network string, opts ...FaultOption) *Fault {
	return Got(m.Stack.Disconnect(m.ctx, service, network, opts...))
}

// Signal sends a signal to a container's main process: [Stack.Signal]. What see says must change by it.
func (m *M) Signal(service, signal string, see func(m *M) string, opts ...FaultOption) *Fault {
	return Got(m.Stack.Signal(m.ctx, service, signal, m.Watch(see), opts...))
}

// Write puts files into a container: [Stack.Write].
func (m *M) Write(service string, files map[string][]byte, opts ...FaultOption) *Fault {
	return Got(m.Stack.Write(m.ctx, service, files, opts...))
}

// Run runs a command in a container that breaks something, with the command that undoes it: [Stack.Run]. What see says
// must change by it.
func (m *M) Run(service, says string, run, undo []string, see func(m *M) string, opts ...FaultOption) *Fault {
	return Got(m.Stack.Run(m.ctx, service, says, run, undo, m.Watch(see), opts...))
}

// Watch makes an observation for a fault ([Seen]) of a function on M.
func (m *M) Watch(see func(m *M) string) Observe {
	return func(ctx context.Context) (seen string, err error) {
		err = (&M{Stack: m.Stack, ctx: ctx}).attempt(func(m *M) error { seen = see(m); return nil })
		return seen, err
	}
}

// Heal undoes a fault and waits until the container serves as before: [Fault.Heal].
func (m *M) Heal(f *Fault) { Must(f.Heal(m.ctx)) }

// Page is an answer to a request of this machine's.
type Page struct {
	Status int
	Header http.Header
	Body   []byte
	Took   time.Duration // from the dial to the last byte
}

// Is is an error unless the answer has this status: what [M.Until] and [M.Hold] ask for.
func (p Page) Is(status int) error {
	if p.Status != status {
		return fmt.Errorf("status %d %.100q", p.Status, bytes.TrimSpace(p.Body))
	}
	return nil
}

// askTimeout bounds one request of this machine's, unless the claim's time is up before.
const askTimeout = 10 * time.Second

// largest is how much of an answer is read.
const largest = 64 << 20

// asking uses no connection twice: a request stands for a client that comes anew.
var asking = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Get asks a service's port for a path, from this machine; headers are names and values in turns. Where the port is not
// published a probe beside the service asks. No answer ends the measurement; inside [M.Until] it is "not yet".
func (m *M) Get(service string, port int, path string, headers ...string) Page {
	return m.Do(http.MethodGet, service, port, path, nil, headers...)
}

// Asked is [M.Get] where no answer is a measurement, too: the error says why there was none.
func (m *M) Asked(service string, port int, path string, headers ...string) (p Page, err error) {
	err = m.attempt(func(m *M) error {
		p = m.Get(service, port, path, headers...)
		return nil
	})
	Must(context.Cause(m.ctx))
	return p, err
}

// Do is [M.Get] with another method and a body. It needs a published port, unless it is a GET.
func (m *M) Do(method, service string, port int, path string, body []byte, headers ...string) Page {
	addr, err := m.Stack.Address(m.ctx, service, port)
	if errors.Is(err, ErrNotPublished) && method == http.MethodGet {
		return m.inside(service, port, path, headers)
	}
	Must(err)
	return m.Send(method, "http://"+addr+path, body, headers...)
}

// Send sends a request to a URL from this machine, on a connection of its own.
func (m *M) Send(method, url string, body []byte, headers ...string) Page {
	ctx, cancel := context.WithTimeoutCause(m.ctx, askTimeout, fmt.Errorf("%s %s: no answer in %v", method, url, askTimeout))
	defer cancel()
	req := Got(http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body)))
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	begun := time.Now()
	res, err := asking.Do(req)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	Must(err)
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, largest))
	Must(err)
	return Page{Status: res.StatusCode, Header: res.Header, Body: text, Took: time.Since(begun)}
}

// inside asks from within the service's own network namespace.
func (m *M) inside(service string, port int, path string, headers []string) Page {
	var args []string
	for i := 0; i+1 < len(headers); i += 2 {
		args = append(args, "-header", headers[i]+": "+headers[i+1])
	}
	a := m.HTTP(Inside(service), append(args, fmt.Sprintf("http://127.0.0.1:%d%s", port, path))...)
	if a.Error != "" {
		Must(fmt.Errorf("%s:%d%s: %s", service, port, path, a.Error))
	}
	return Page{Status: a.Status, Header: a.Header, Body: a.Body, Took: time.Duration(a.Seconds * float64(time.Second))}
}

// JSON asks a service's port for a path and reads the answer into a value. An answer that is not 200 and JSON ends the
// measurement; inside [M.Until] it is "not yet".
func (m *M) JSON(service string, port int, path string, into any, headers ...string) {
	p := m.Get(service, port, path, headers...)
	if err := p.Is(http.StatusOK); err != nil {
		Must(fmt.Errorf("%s:%d%s: %w", service, port, path, err))
	}
	if err := json.Unmarshal(p.Body, into); err != nil {
		Must(fmt.Errorf("%s:%d%s: %w: %.100q", service, port, path, err, p.Body))
	}
}

// Lines are the JSON lines that a service's first replica has written since then, its log and its output. A line that is
// none ends the measurement: nobody could use it.
func Lines[T any](m *M, service string, since time.Time) []T {
	var all []T
	for line := range strings.Lines(m.Logs(service, since)) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			Must(fmt.Errorf("%s wrote %.200q: %w", service, line, err))
		}
		all = append(all, v)
	}
	return all
}

// Metric is the sum of a metric's values on a service's /metrics, over all its series that have these labels, written
// `name="value"`. Of a histogram it is the count. A metric that is not there ends the measurement.
func (m *M) Metric(service string, port int, name string, labels ...string) float64 {
	sum, there := m.metric(service, port, name, labels)
	m.Need(there, "%s has no metric %s", service, name)
	return sum
}

// Counter is [Metric] for a counter with labels, which is not there before it first counts: then it is 0. A claim that
// it stays 0 must see it count elsewhere, or a misspelt name would keep it.
func (m *M) Counter(service string, port int, name string, labels ...string) float64 {
	sum, _ := m.metric(service, port, name, labels)
	return sum
}

func (m *M) metric(service string, port int, name string, labels []string) (sum float64, there bool) {
	p := m.Get(service, port, "/metrics")
	Must(p.Is(http.StatusOK))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(p.Body))
	if err != nil {
		Must(fmt.Errorf("%s:%d/metrics: %w", service, port, err))
	}
	for _, series := range families[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range series.GetLabel() {
			has[fmt.Sprintf("%s=%q", l.GetName(), l.GetValue())] = true
		}
		if !slices.ContainsFunc(labels, func(l string) bool { return !has[l] }) {
			sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() + series.GetUntyped().GetValue() +
				float64(series.GetHistogram().GetSampleCount()+series.GetSummary().GetSampleCount())
		}
	}
	return sum, families[name] != nil
}
