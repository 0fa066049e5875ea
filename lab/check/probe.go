package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The probe runs as a container of its own inside the lab's network: the only honest way to show that something is
// not reachable, to come from another address, or to load a service from inside. These are the answers of its
// subcommands; containers/probe documents them.

// ErrorKind says how a probe failed, in the terms of the wire.
type ErrorKind string

// How a probe failed.
const (
	NoError     ErrorKind = ""
	Refused     ErrorKind = "refused"     // nothing listens there
	Unreachable ErrorKind = "unreachable" // no route, or no such name
	TimedOut    ErrorKind = "timeout"
	TLSError    ErrorKind = "tls"    // the handshake or the certificate was refused
	Closed      ErrorKind = "closed" // the connection ended before the answer was whole
	OtherError  ErrorKind = "other"
)

// HTTPAnswer is what `probe http` prints: one request, one answer.
type HTTPAnswer struct {
	Error     string              `json:"error"`
	ErrorKind ErrorKind           `json:"error_kind"`
	Status    int                 `json:"status"`
	Proto     string              `json:"proto"`
	Header    map[string][]string `json:"header"`
	Body      []byte              `json:"body"` // the first MiB
	Bytes     int64               `json:"bytes"`
	SHA256    string              `json:"sha256"` // of the whole body, hex
	Seconds   float64             `json:"seconds"`
	Local     string              `json:"local"` // the probe's own address as the peer sees it without a proxy
	Remote    string              `json:"remote"`
	TLS       *TLSAnswer          `json:"tls"`
}

// TCPAnswer is what `probe tcp` prints.
type TCPAnswer struct {
	Error     string    `json:"error"`
	ErrorKind ErrorKind `json:"error_kind"`
	Connected bool      `json:"connected"`
	Received  []byte    `json:"received"`
	Seconds   float64   `json:"seconds"`
	Local     string    `json:"local"`
	Remote    string    `json:"remote"`
}

// TLSAnswer is what `probe tls` prints: one handshake.
type TLSAnswer struct {
	Error        string        `json:"error"`
	ErrorKind    ErrorKind     `json:"error_kind"`
	Handshake    bool          `json:"handshake"`
	Version      string        `json:"version"` // "1.2", "1.3"
	Cipher       string        `json:"cipher"`
	ALPN         string        `json:"alpn"`
	Certificates []Certificate `json:"certificates"`
	Seconds      float64       `json:"seconds"`
}

// SocketsAnswer is what `probe sockets` prints.
type SocketsAnswer struct {
	Error     string    `json:"error"`
	ErrorKind ErrorKind `json:"error_kind"`
	Listening []string  `json:"listening"` // addresses of TCP sockets that listen, host:port
}

// Certificate is one that a peer showed, leaf first.
type Certificate struct {
	Serial   string    `json:"serial"` // hex
	Subject  string    `json:"subject"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
	SHA256   string    `json:"sha256"`
}

// LoadAnswer is what `probe load` and `probe flight` print at their end.
type LoadAnswer struct {
	Requests int               `json:"requests"`
	OK       int               `json:"ok"`      // a whole answer with a status below 400
	Status   map[string]int    `json:"status"`  // by status code
	Errors   map[ErrorKind]int `json:"errors"`  // requests without a whole answer
	Lost     int               `json:"lost"`    // requests that were written and not answered whole: errors that were not refusals
	Retried  int               `json:"retried"` // requests that HTTP let the client send again, a kept connection having ended under them
	Seconds  float64           `json:"seconds"`
	Rate     float64           `json:"rate"`    // requests a second, as sent
	Latency  Latency           `json:"latency"` // from the time a request was due, so that a stall counts in full
	First    []string          `json:"first"`   // the first few errors, as text
	Began    time.Time         `json:"began"`   // when the first request was due, by the engine's clock
	Failed   []Failure         `json:"failed"`  // the first hundred requests that were not OK
	Series   []Slice           `json:"series"`  // what came of the requests by the time at which they were due
}

// Failure is one request that was not OK: At seconds after the load began it was due, and this came of it: a status, or
// the kind of error and its text.
type Failure struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// Slice is a tenth of a second of a load: the requests that were due in it, At seconds after the load began. Quantiles
// are in seconds.
type Slice struct {
	At       float64 `json:"at"`
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
}

// Latency is a distribution in seconds, with a cumulative histogram.
type Latency struct {
	Mean    float64  `json:"mean"`
	P50     float64  `json:"p50"`
	P90     float64  `json:"p90"`
	P99     float64  `json:"p99"`
	Max     float64  `json:"max"`
	Buckets []Bucket `json:"buckets"`
}

// Bucket counts the requests that took at most LE seconds; the last has LE 0 and counts all.
type Bucket struct {
	LE    float64 `json:"le"`
	Count int     `json:"count"`
}

// ClosedAnswer is what the loads of the closed model print at their end: `probe handshakes`, `probe transfer` and
// `probe idle`, with which comparisons are made.
type ClosedAnswer struct {
	Connections int               `json:"connections"`
	Done        int               `json:"done"`
	Bytes       int64             `json:"bytes"`
	Errors      map[ErrorKind]int `json:"errors"`
	First       []string          `json:"first"`
	Seconds     float64           `json:"seconds"`
	CPU         float64           `json:"cpu_seconds"`
	Latency     Latency           `json:"latency"`
}

// event is a line of a probe's output: what happened, or the answer.
type event struct {
	Event string `json:"event"` // started, in-flight, result
	Count int    `json:"count"`
}

// Place says where a probe stands.
type Place struct{ beside, network string }

// Outside is a container of its own in the lab's default network: a neighbour with another address.
var Outside = Place{}

// In is a container of its own in a network of the lab, named as in the compose file.
func In(network string) Place { return Place{network: network} }

// Inside is the network namespace of a service: within the pod, where its loopback can be reached.
func Inside(service string) Place { return Place{beside: service} }

func (p Place) spec(args []string) ProbeSpec {
	return ProbeSpec{Beside: p.beside, Network: p.network, Args: args}
}

// HTTP sends one request from a probe. The arguments are those of `probe http`, the URL last.
func (s *Stack) HTTP(ctx context.Context, from Place, args ...string) (HTTPAnswer, error) {
	var a HTTPAnswer
	err := s.ask(ctx, from, &a, append([]string{"http"}, args...))
	return a, err
}

// HTTPEach sends one request to each URL from one probe, in order. The flags go with all of them.
func (s *Stack) HTTPEach(ctx context.Context, from Place, flags []string, urls ...string) ([]HTTPAnswer, error) {
	args := slices.Concat([]string{"http"}, flags, urls)
	p, err := s.driver.Probe(ctx, from.spec(args))
	if err != nil {
		return nil, fmt.Errorf("probe http: %w", err)
	}
	defer p.Close()
	answers := make([]HTTPAnswer, len(urls))
	for i := range answers {
		line, err := p.Line(ctx)
		if err != nil {
			return nil, complain(ctx, p, "http", err)
		}
		if err := decode(line, &answers[i]); err != nil {
			return nil, fmt.Errorf("probe http: %w", err)
		}
	}
	return answers, nil
}

// TCP opens one connection from a probe. The arguments are those of `probe tcp`, the address last.
func (s *Stack) TCP(ctx context.Context, from Place, args ...string) (TCPAnswer, error) {
	var a TCPAnswer
	err := s.ask(ctx, from, &a, append([]string{"tcp"}, args...))
	return a, err
}

// TLS makes one handshake from a probe. The arguments are those of `probe tls`, the address last.
func (s *Stack) TLS(ctx context.Context, from Place, args ...string) (TLSAnswer, error) {
	var a TLSAnswer
	err := s.ask(ctx, from, &a, append([]string{"tls"}, args...))
	return a, err
}

// Sockets are the addresses at which the pod of a service listens, host:port, loopback's too.
func (s *Stack) Sockets(ctx context.Context, service string) ([]string, error) {
	var a SocketsAnswer
	err := s.ask(ctx, Inside(service), &a, []string{"sockets"})
	return a.Listening, err
}

func (s *Stack) ask(ctx context.Context, from Place, answer any, args []string) error {
	p, err := s.driver.Probe(ctx, from.spec(args))
	if err != nil {
		return fmt.Errorf("probe %s: %w", args[0], err)
	}
	defer p.Close()
	line, err := p.Line(ctx)
	if err != nil {
		return complain(ctx, p, args[0], err)
	}
	if err := decode(line, answer); err != nil {
		return fmt.Errorf("probe %s: %w", args[0], err)
	}
	return nil
}

// decode reads an answer. A line of JSON that is none, {} say, must not pass for one in which nothing went wrong.
func decode(line []byte, answer any) error {
	var it struct {
		Error    *string `json:"error"`
		Requests *int    `json:"requests"`
	}
	err := json.Unmarshal(line, &it)
	if err == nil && it.Error == nil && it.Requests == nil {
		err = errors.New("not an answer")
	}
	if err == nil {
		err = json.Unmarshal(line, answer)
	}
	if err != nil {
		return fmt.Errorf("said %q: %w", line[:min(len(line), 500)], err)
	}
	return nil
}

// complain turns a probe that said nothing into an error that tells why.
func complain(ctx context.Context, p Process, verb string, err error) error {
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("probe %s: %w", verb, err)
	}
	out, werr := p.Wait(ctx)
	if werr != nil {
		return fmt.Errorf("probe %s: %w", verb, werr)
	}
	return fmt.Errorf("probe %s: exit code %d without an answer: %s", verb, out.ExitCode, strings.TrimSpace(out.Stderr))
}

// LoadSpec is an open-model load: requests leave at Rate whether or not earlier ones were answered.
type LoadSpec struct {
	Rate int           // requests a second
	For  time.Duration // at most; Result ends it sooner
	Args []string      // further arguments of `probe load`
	URL  string
}

// Load is a load that runs inside the lab's network.
type Load struct {
	process Process
	verb    string
}

// Load starts a load and returns when its first request was answered. The claim does what it has to do, and then
// asks for the Result.
func (s *Stack) Load(ctx context.Context, from Place, l LoadSpec) (*Load, error) {
	args := append([]string{"load", "-rate", strconv.Itoa(l.Rate), "-duration", l.For.String()}, l.Args...)
	return s.start(ctx, from, append(args, l.URL), "started")
}

// Flight sends n requests at once and returns when all were written and none is answered whole: they are in flight.
// The Result waits for all. The arguments are those of `probe flight`, the URL last.
func (s *Stack) Flight(ctx context.Context, from Place, n int, args ...string) (*Load, error) {
	return s.start(ctx, from, append([]string{"flight", "-n", strconv.Itoa(n)}, args...), "in-flight")
}

func (s *Stack) start(ctx context.Context, from Place, args []string, first string) (*Load, error) {
	p, err := s.driver.Probe(ctx, from.spec(args))
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", args[0], err)
	}
	s.onClose(p.Close)
	line, err := p.Line(ctx)
	if err != nil {
		return nil, complain(ctx, p, args[0], err)
	}
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Event != first {
		return nil, fmt.Errorf("probe %s: said %q, not that it has %s", args[0], line, first)
	}
	return &Load{process: p, verb: args[0]}, nil
}

// Stop ends a load before its time and gives its result.
func (l *Load) Stop(ctx context.Context) (LoadAnswer, error) {
	if err := l.process.Stop(ctx); err != nil {
		return LoadAnswer{}, fmt.Errorf("probe %s: %w", l.verb, err)
	}
	return l.Result(ctx)
}

// Result waits until the load has ended by itself.
func (l *Load) Result(ctx context.Context) (LoadAnswer, error) {
	for {
		line, err := l.process.Line(ctx)
		if err != nil {
			return LoadAnswer{}, complain(ctx, l.process, l.verb, err)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return LoadAnswer{}, fmt.Errorf("probe %s: said %q: %w", l.verb, line, err)
		}
		if e.Event == "result" {
			var a LoadAnswer
			if err := decode(line, &a); err != nil {
				return LoadAnswer{}, fmt.Errorf("probe %s: %w", l.verb, err)
			}
			return a, nil
		}
	}
}
