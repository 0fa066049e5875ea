package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"distlab/containers/internal/forward"
)

// Mirror sends copies of requests to one more server, whose answers nobody
// sees. The primary is never held up: a copy that finds no place, or whose
// body is too long, is dropped and counted. What it holds is bounded by
// Concurrency times BodyLimit. A nil Mirror copies nothing.
//
// Source: nginx's ngx_http_mirror_module and Traefik's mirroring, without
// what is asked of them: nginx's holds up the connection's next request, and
// Traefik's keeps every body in memory.
type Mirror struct {
	Addr        string // to dial
	H2C         bool
	Percent     float64         // of the requests, evenly spread
	Methods     map[string]bool // copied; nil: all
	Concurrency int             // copies on their way; more are dropped
	BodyLimit   int             // longer ones are not copied
	Timeout     time.Duration   // for a copy, from its start to the end of its answer
	Blocking    bool            // the primary's answer waits for the copy's
	Transport   http.RoundTripper
	Metrics     *Metrics
	Compare     *Compare // nil: answers are thrown away unread

	once    sync.Once
	slots   chan struct{}
	seen    atomic.Uint64
	context context.Context
	cancel  context.CancelFunc
}

func (m *Mirror) init() {
	m.once.Do(func() {
		m.slots = make(chan struct{}, m.Concurrency)
		m.context, m.cancel = context.WithCancel(context.Background())
	})
}

// Close cuts all copies.
func (m *Mirror) Close() {
	m.init()
	m.cancel()
}

// shadow is one copy. It has a place from the start until it was sent and
// answered, or dropped. All methods may be called on nil.
type shadow struct {
	mirror *Mirror
	limit  int
	done   chan struct{} // closed at its end, if it was sent

	primary capture // for the comparison

	mu    sync.Mutex // guards the following
	req   *http.Request
	body  []byte
	state shadowState
}

type shadowState uint8

const (
	gathering shadowState = iota
	sent
	dropped
)

// begin takes a place for a request that is to be copied; nil: it is not.
func (m *Mirror) begin(x *exchange) *shadow {
	if m == nil || m.Methods != nil && !m.Methods[x.Request.Method] || !m.sampled() {
		return nil
	}
	m.init()
	switch {
	case x.Request.Header["Upgrade"] != nil:
		m.lose("upgrade")
		return nil
	case x.HasBody() && x.Request.ContentLength > int64(m.BodyLimit):
		m.lose("body")
		return nil
	}
	select {
	case m.slots <- struct{}{}:
	default:
		m.lose("concurrency")
		return nil
	}
	s := &shadow{mirror: m, limit: m.BodyLimit, done: make(chan struct{})}
	s.primary.done = make(chan struct{})
	if x.HasBody() {
		x.Tee = s
	}
	return s
}

func (m *Mirror) lose(reason string) { m.Metrics.mirrorLost.WithLabelValues(reason).Inc() }

// sampled spreads the copies evenly: of n requests exactly n·Percent/100,
// rounded down, are.
func (m *Mirror) sampled() bool {
	n := float64(m.seen.Add(1))
	return math.Floor(n*m.Percent/100) > math.Floor((n-1)*m.Percent/100)
}

// request is what the first arm is asked. Without a body, it goes off.
func (s *shadow) request(x *exchange) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.req != nil || s.state != gathering {
		return
	}
	out, u := x.Out, *x.Out.URL
	u.Host = s.mirror.Addr
	s.req = &http.Request{Method: out.Method, URL: &u, Host: out.Host, Header: out.Header.Clone()}
	forward.SetTarget(s.req, x.Target)
	if !x.HasBody() {
		s.send()
	}
}

// Part is told each part of the body as the primary reads it.
func (s *shadow) Part(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state != gathering:
	case len(s.body)+len(p) > s.limit:
		s.lose("body")
	default:
		s.body = append(s.body, p...)
	}
}

// Ended is told the end of the body. If it is whole, the copy goes off.
func (s *shadow) Ended(err error) {
	if err != nil {
		s.drop("broken_body")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == gathering && s.req != nil {
		s.send()
	}
}

func (s *shadow) drop(reason string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose(reason)
}

// lose gives the place back; the caller holds mu.
func (s *shadow) lose(reason string) {
	if s.state == gathering {
		s.state, s.body = dropped, nil
		s.mirror.lose(reason)
		<-s.mirror.slots
	}
}

// end is the end of the exchange: a copy whose body no arm has read to the end
// is not one.
func (s *shadow) end() {
	s.drop("unread_body")
	if s != nil {
		s.primary.end(false) // not, if it has ended
	}
}

// wait is for Blocking.
func (s *shadow) wait(ctx context.Context) {
	if s == nil || !s.mirror.Blocking {
		return
	}
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	if state == sent {
		select {
		case <-s.done:
		case <-ctx.Done():
		}
	}
}

// send goes off; the caller holds mu.
func (s *shadow) send() {
	s.state = sent
	req, body := s.req, s.body
	s.body = nil
	if len(body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	s.mirror.Metrics.mirroring.Inc()
	go func() {
		defer func() {
			recover() // what a copy brings to light is not the client's concern
			s.mirror.Metrics.mirroring.Dec()
			<-s.mirror.slots
			close(s.done)
		}()
		s.mirror.Metrics.mirrored.WithLabelValues(s.mirror.carry(s, req, body)).Inc()
	}()
}

// carry is the whole of a copy's life on the network; the result is a label.
func (m *Mirror) carry(s *shadow, req *http.Request, body []byte) string {
	ctx := m.context
	if m.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.Timeout)
		defer cancel()
	}
	resp, err := m.Transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return mirrorError(err)
	}
	defer resp.Body.Close()
	if m.Compare != nil {
		m.Compare.candidate(ctx, s, req, body, resp)
	} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return mirrorError(err)
	}
	return class(resp.StatusCode)
}

func mirrorError(err error) string {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return "error"
}
