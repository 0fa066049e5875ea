package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// seqHeader is vegeta's mark on a request; it is taken off again before the request leaves.
const seqHeader = "X-Vegeta-Seq"

func runLoad(ctx context.Context, args []string, out *printer) error {
	var f requestFlags
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	f.register(fs, 5*time.Second)
	rate := fs.Int("rate", 0, "requests a second")
	duration := fs.Duration("duration", 0, "how long requests leave")
	keepalive := fs.Bool("keepalive", true, "use connections again")
	connections := fs.Int("connections", 0, "at most so many connections a host; 0 is as many as it takes")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	if err := f.check(rest, 100); err != nil {
		return err
	}
	if *rate < 1 || *rate > 1e6 || *duration <= 0 || *connections < 0 {
		return wrong("needs a -rate from 1 to 1000000 and a -duration above 0, and -connections cannot be negative")
	}
	t := f.transport()
	defer t.CloseIdleConnections()
	t.DisableKeepAlives = !*keepalive
	t.MaxConnsPerHost = *connections
	t.MaxIdleConnsPerHost = 10000
	l := &load{flags: &f, transport: t, rate: *rate, period: time.Second / time.Duration(*rate), length: *duration}
	answer, err := l.run(ctx, func() error { return out.print(started{"started"}) })
	if err != nil {
		return err
	}
	return out.print(answer)
}

// load sends requests at a fixed rate, whether or not earlier ones were answered. Vegeta's attacker is the engine:
// it has a worker for every request that is due. Pacing and the account of what happened on the wire are here,
// because vegeta measures from when a worker took a request up, and keeps of an error only the text.
type load struct {
	flags     *requestFlags
	transport http.RoundTripper
	rate      int
	period    time.Duration
	length    time.Duration

	stop  <-chan struct{}
	began time.Time
	mu    sync.Mutex
	shots map[uint64]*shot // by vegeta's sequence number, from the time it is due until it is counted
	last  time.Time        // when the last request left
}

// run ends when the load's time is up, or ctx ends, and every request was answered or failed. First is called when
// the first request was answered well.
func (l *load) run(ctx context.Context, first func() error) (loadAnswer, error) {
	l.stop, l.shots = ctx.Done(), map[uint64]*shot{}
	attacker := vegeta.NewAttacker(vegeta.Client(l.flags.client(l, false)), vegeta.MaxBody(0))
	sum := newTally()
	var err error
	for result := range attacker.Attack(l.target, l, 0, "") {
		s := l.take(result.Seq)
		// Vegeta saw the end of the body; a request that never reached the transport has only this error.
		if !s.finished {
			s.end(fmt.Errorf("send: %s", result.Error))
		}
		sum.add(s)
		if first != nil && sum.answer.OK == 1 {
			if err = first(); err != nil {
				attacker.Stop()
			}
			first = nil
		}
	}
	if sum.answer.Requests == 0 {
		return sum.sum(0, 0), err
	}
	return sum.sum(time.Since(l.began), l.last.Sub(l.began)+l.period), err
}

// Pace is part of vegeta.Pacer. It waits here, and not where vegeta would, so that a signal need not wait for the
// next request's time.
func (l *load) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	if hits == 0 {
		l.began = time.Now().Add(-elapsed)
	}
	due := time.Duration(float64(hits) / float64(l.rate) * float64(time.Second))
	if due >= l.length {
		return 0, true
	}
	timer := time.NewTimer(due - elapsed)
	defer timer.Stop()
	select {
	case <-l.stop:
		return 0, true
	case <-timer.C:
	}
	l.mu.Lock()
	l.shots[hits] = &shot{due: l.began.Add(due)}
	l.last = time.Now()
	l.mu.Unlock()
	return 0, false
}

// Rate is part of vegeta.Pacer.
func (l *load) Rate(time.Duration) float64 { return float64(l.rate) }

// target is a vegeta.Targeter. The request is made in RoundTrip; this one only carries its number there.
func (l *load) target(t *vegeta.Target) error {
	t.Method, t.URL = http.MethodGet, l.flags.urls[0].String()
	return nil
}

// RoundTrip sends the request that vegeta counts as this one, and follows it to the end of its body.
func (l *load) RoundTrip(counted *http.Request) (*http.Response, error) {
	seq, err := strconv.ParseUint(counted.Header.Get(seqHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("a request without a number: %w", err)
	}
	s := l.shot(seq)
	req, err := l.flags.request(l.url(seq))
	if err != nil {
		return nil, err
	}
	res, err := l.transport.RoundTrip(req.WithContext(s.trace(counted.Context(), nil)))
	if err != nil {
		s.end(err)
		return nil, err
	}
	s.mu.Lock()
	s.status = res.StatusCode
	s.mu.Unlock()
	res.Body = &followed{res.Body, s}
	return res, nil
}

// url takes the URLs in turns.
func (l *load) url(seq uint64) *url.URL { return l.flags.urls[seq%uint64(len(l.flags.urls))] }

func (l *load) shot(seq uint64) *shot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shots[seq]
}

func (l *load) take(seq uint64) *shot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.shots[seq]
	delete(l.shots, seq)
	return s
}

// followed notes how an answer's body ended.
type followed struct {
	io.ReadCloser
	shot *shot
}

func (f *followed) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err == io.EOF {
		f.shot.end(nil)
	} else if err != nil {
		f.shot.end(fmt.Errorf("read the answer's body: %w", err))
	}
	return n, err
}
