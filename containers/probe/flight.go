package main

import (
	"context"
	"flag"
	"io"
	"net/http"
	"sync"
	"time"
)

func runFlight(ctx context.Context, args []string, out *printer) error {
	var f requestFlags
	fs := flag.NewFlagSet("flight", flag.ContinueOnError)
	f.register(fs, 30*time.Second)
	n := fs.Int("n", 0, "how many requests")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	if err := f.check(rest, 1); err != nil {
		return err
	}
	if *n < 1 || *n > 10000 {
		return wrong("needs an -n from 1 to 10000")
	}
	t := f.transport()
	defer t.CloseIdleConnections()
	fl := &flight{client: f.client(t, false), n: *n, told: func() error { return out.print(inFlight{"in-flight", *n}) }}
	answer, err := fl.run(ctx, func() (*http.Request, error) { return f.request(f.urls[0]) })
	if err != nil {
		return err
	}
	return out.print(answer)
}

// flight is a number of requests at once. Told is called when every one is written and none is answered; when that
// never is so, it is not called.
type flight struct {
	client *http.Client
	n      int
	told   func() error

	start   time.Time
	mu      sync.Mutex
	sending time.Duration // from the start until the last request was written
	written int
	ended   int
	sum     *tally
	err     error // told's
}

// run sends the requests and waits for all. When ctx ends, what is not answered by then is lost.
func (f *flight) run(ctx context.Context, request func() (*http.Request, error)) (loadAnswer, error) {
	sending, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(errInterrupted) })()
	f.start, f.sum = time.Now(), newTally()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range f.n {
		req, err := request()
		if err != nil {
			return loadAnswer{}, err
		}
		wg.Go(func() { f.send(sending, req) })
	}
	wg.Wait()
	return f.sum.sum(time.Since(f.start), f.sending), f.err
}

func (f *flight) send(ctx context.Context, req *http.Request) {
	s := &shot{due: f.start}
	_, _, err := s.do(f.client, req.WithContext(s.trace(ctx, f.wrote)), io.Discard)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		s.err = context.Cause(ctx)
	}
	f.ended++
	f.sum.add(s)
}

// wrote counts a request that is on the wire, and tells when it was the last.
func (f *flight) wrote() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written++
	f.sending = time.Since(f.start)
	if f.written == f.n && f.ended == 0 {
		f.err = f.told()
	}
}
