package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// pipe is how much is read or written at once: large, so that few system calls are the probe's own.
const pipe = 256 << 10

func runTransfer(ctx context.Context, args []string, out *printer) error {
	var f requestFlags
	fs := flag.NewFlagSet("transfer", flag.ContinueOnError)
	f.register(fs, time.Minute)
	var c closedLoad
	fs.IntVar(&c.workers, "connections", 0, "so many at a time")
	fs.DurationVar(&c.length, "duration", 0, "how long requests begin")
	fs.IntVar(&c.each, "requests", 0, "requests on each connection")
	down := fs.Int64("down", 0, "the `bytes` that each answer must have")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	f.http1 = !f.http2 // a connection for each worker
	if err := f.check(rest, 1); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if *down < 1 || f.http2 {
		return wrong("needs -down above 0, and speaks HTTP/1.1 alone")
	}
	body := make([]byte, f.dataSize)
	_, _ = (&alphabet{}).Read(body)
	t := &transfer{flags: &f, body: append(body, f.data...), down: *down}
	for range c.workers {
		t.workers = append(t.workers, transferWorker{t.client(), make([]byte, pipe)})
	}
	c.work = t.one
	return out.print(c.run(ctx))
}

// transfer moves large bodies, and counts what it moved.
type transfer struct {
	flags   *requestFlags
	body    []byte
	down    int64
	workers []transferWorker
}

// transferWorker has a connection of its own, and what it reads into.
type transferWorker struct {
	client *http.Client
	buffer []byte
}

func (t *transfer) client() *http.Client {
	var d net.Dialer
	return t.flags.client(&http.Transport{
		DialContext: d.DialContext, TLSClientConfig: t.flags.config.Clone(), DisableCompression: true,
		MaxConnsPerHost: 1, ReadBufferSize: pipe, WriteBufferSize: pipe, TLSHandshakeTimeout: t.flags.timeout,
	}, false)
}

// one is a request of worker i and its whole answer, which must be as long as it should.
func (t *transfer) one(ctx context.Context, i int) (int64, error) {
	w := t.workers[i]
	req, err := t.flags.request(t.flags.urls[0])
	if err != nil {
		return 0, err
	}
	if len(t.body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(t.body))
		req.GetBody = nil
	}
	res, err := w.client.Do(req.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := drain(res.Body, w.buffer)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the answer's body after %d bytes: %w", n, err)
	case res.StatusCode >= 400:
		return 0, fmt.Errorf("status %d", res.StatusCode)
	case n != t.down:
		return 0, fmt.Errorf("status %d with %d bytes, not %d", res.StatusCode, n, t.down)
	}
	return n + int64(len(t.body)), nil
}

// drain reads to the end with the buffer that it is given.
func drain(r io.Reader, buffer []byte) (n int64, err error) {
	for {
		m, err := r.Read(buffer)
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
