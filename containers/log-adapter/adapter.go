package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"distlab/containers/internal/follow"
)

// Adapter makes one line of each event, whatever the app's log looks like. One goroutine has all streams and writes; readers of
// connections and of standard input only hand lines over.
type Adapter struct {
	Inputs   []Input
	Pattern  *Format // what the format pattern is
	Follower *follow.Follower
	Kept     follow.Checkpoint

	Limits    Limits
	Clock     *Clock
	LocalTime bool // times are written as they stood in the line: for showing what that is like
	Drop      bool // lines that are not understood are left out: for showing so
	Original  bool
	MaxLine   int
	MaxConns  int
	Rate      int // events a second of one stream; 0: any
	Poll      time.Duration

	Stdin   io.Reader
	Out     io.Writer
	Render  Render
	Service string
	Log     *slog.Logger
	Metrics *metrics
	Ready   func(bool, string)

	streams  map[string]*source
	out      *bufio.Writer
	buf      []byte
	err      error // of writing: the end
	number   int   // of the batch that is read
	unacked  []*follow.Batch
	firstNum int // of the first of them
	dirty    bool
	totals   Status // what was counted so far
	lines    int64
	counted  int64 // lines that the metric has

	mu     sync.Mutex
	status Status
}

// Status is what /status shows.
type Status struct {
	Streams  []StreamStatus `json:"streams"`
	Lines    int64          `json:"lines"`
	Events   int64          `json:"events"`
	Unparsed int64          `json:"unparsed"`
	Unread   int64          `json:"unread_bytes"`
	Held     int            `json:"held_events"`
	Scans    int64          `json:"scans"`
}

// StreamStatus is one stream.
type StreamStatus struct {
	Name   string `json:"name"`
	Format string `json:"format"`
	Events int64  `json:"events"`
	Held   int    `json:"held_lines"`
}

// Status may be called from any goroutine.
func (a *Adapter) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Run adapts until ctx is done or standard input, where that is all there is, ends. Then it reads what is there, writes what it
// holds, and keeps how far it was.
func (a *Adapter) Run(ctx context.Context) error {
	a.streams, a.out = map[string]*source{}, bufio.NewWriterSize(a.Out, 64<<10)
	a.firstNum = 1
	in := make(chan chunk, 16)
	reading, stop := context.WithCancel(context.Background())
	defer stop()
	var readers sync.WaitGroup
	ends := 0 // inputs that can end
	endless := a.Follower != nil
	for i := range a.Inputs {
		input := &a.Inputs[i]
		switch input.Kind {
		case "stdin":
			ends++
			go readLines(reading, a.Stdin, input, "stdin", a.MaxLine, in) // it may never return: nothing ends a read
		case "tcp", "unix":
			endless = true
			ln, err := input.bind()
			if err != nil {
				return err
			}
			a.Log.Info("listening", "address", addressOf(ln))
			readers.Go(func() { listen(ctx, input, ln, a.MaxConns, a.MaxLine, in, a.Log, a.Metrics.refused.Inc) })
		}
	}
	if a.Follower != nil {
		defer a.Follower.Close()
		if err := a.restore(); err != nil {
			return err
		}
	}
	a.Ready(true, "")
	tick := time.NewTicker(a.Poll)
	defer tick.Stop()
	a.files()
	for a.err == nil {
		select {
		case c := <-in:
			if a.take(c); c.end && c.from.Kind == "stdin" {
				if ends--; ends == 0 && !endless {
					return a.finish()
				}
			}
			for n := len(in); n > 0; n-- {
				c := <-in
				if a.take(c); c.end && c.from.Kind == "stdin" {
					ends--
				}
			}
			if ends == 0 && !endless {
				return a.finish()
			}
		case <-tick.C:
			a.files()
		case <-ctx.Done():
			a.drain(in, &readers)
			a.files()
			return a.finish()
		}
		a.write()
	}
	return a.err
}

func addressOf(ln net.Listener) string { return ln.Addr().String() }

// drain takes what the readers have, until they are done.
func (a *Adapter) drain(in chan chunk, readers *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { readers.Wait(); close(done) }()
	for {
		select {
		case c := <-in:
			a.take(c)
			continue
		case <-done:
		}
		for n := len(in); n > 0; n-- {
			a.take(<-in)
		}
		return
	}
}

// finish writes what is held.
func (a *Adapter) finish() error {
	for _, s := range a.streams {
		a.end(s)
	}
	a.write()
	if a.err == nil && a.Follower != nil {
		a.ack()
		a.keep()
	}
	a.observe()
	return a.err
}

// files reads what is new in the files, and ends what has waited long enough.
func (a *Adapter) files() {
	if a.Follower != nil {
		a.Follower.Scan()
		if a.Follower.Unsaved() {
			a.keep()
		}
		for a.err == nil {
			a.number++
			b := a.Follower.New()
			some := a.Follower.Read(b)
			a.unacked = append(a.unacked, b)
			now := time.Now()
			for _, r := range b.Records {
				s := a.stream("file:"+r.Source, r.Source, a.inputOf(r.Source))
				s.file = true
				a.lines++
				a.add(s, string(r.Text), now, r.Truncated)
			}
			b.Records = nil // what is held has copies
			a.write()
			a.ack()
			if !some {
				break
			}
		}
		if a.dirty {
			a.keep()
		}
	}
	now := time.Now()
	for key, s := range a.streams {
		a.due(s, now)
		if !s.file && !s.held() && now.Sub(s.used) > time.Hour { // a container that is gone
			delete(a.streams, key)
		}
	}
	a.write()
	if a.Follower != nil {
		a.ack()
	}
	a.observe()
}

func (a *Adapter) due(s *source, now time.Time) {
	s.Due(now)
	for _, sub := range s.subs {
		a.due(sub, now)
	}
	if s.suppressed > 0 {
		a.refill(s, now)
		if s.tokens >= 1 {
			a.summary(s, now)
		}
	}
}

func (a *Adapter) end(s *source) {
	for name, p := range s.parts {
		delete(s.parts, name)
		a.sub(s, name).Add(p.text, time.Now(), a.number, p.cut)
	}
	for _, sub := range s.subs {
		a.end(sub)
	}
	s.Flush()
	if s.suppressed > 0 {
		a.summary(s, time.Now())
	}
}

// inputOf is the first input that a name matches.
func (a *Adapter) inputOf(name string) *Input {
	for i := range a.Inputs {
		if in := &a.Inputs[i]; in.Kind == "file" {
			if ok, _ := filepath.Match(in.Where, name); ok {
				return in
			}
		}
	}
	return &Input{Format: "auto"}
}

// take adds what a reader has handed over.
func (a *Adapter) take(c chunk) {
	s := a.stream(c.key, c.key, c.from)
	now := time.Now()
	a.lines += int64(len(c.lines))
	for _, l := range c.lines {
		a.add(s, l.text, now, l.cut)
	}
	if c.end {
		a.end(s)
		delete(a.streams, c.key)
		if c.err != nil {
			a.Log.Warn("input ended", "input", c.key, "error", c.err)
		}
	}
}

func (a *Adapter) refill(s *source, now time.Time) {
	s.tokens = min(float64(a.Rate), s.tokens+now.Sub(s.filled).Seconds()*float64(a.Rate))
	s.filled = now
}

// emit writes an event, unless its stream has had more than its share.
func (a *Adapter) emit(s *source, e *Event) {
	m := a.Metrics
	if e.Unparsed != "" {
		m.unparsed.Inc()
		a.totals.Unparsed++
		if a.Drop {
			m.dropped.WithLabelValues("unparsed").Inc()
			return
		}
	}
	if a.Rate > 0 {
		a.refill(s, e.Observed)
		if s.tokens < 1 {
			s.suppressed++
			m.dropped.WithLabelValues("rate").Inc()
			return
		}
		if s.suppressed > 0 {
			a.summary(s, e.Observed)
		}
		s.tokens--
	}
	s.events++
	a.totals.Events++
	m.count(e, e.lines)
	a.print(e)
}

// summary says how many events of a stream were left out.
func (a *Adapter) summary(s *source, now time.Time) {
	e := &Event{Time: now.UTC(), Zone: "Z", Observed: now, Body: "events suppressed: more than RATE_LIMIT", Source: s.Source}
	e.level("WARN")
	e.Attrs = []Attr{{"suppressed", strconv.FormatInt(s.suppressed, 10), true}}
	s.suppressed = 0
	a.print(e)
}

func (a *Adapter) print(e *Event) {
	if a.LocalTime && !e.Time.IsZero() {
		// As collectors do that leave the zone aside.
		if off, _, _, ok := zone(e.Zone); ok {
			at := e.Time.In(off)
			e.Time = time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
		}
	}
	a.buf = a.Render(a.buf[:0], e, a.Service)
	n, err := a.out.Write(a.buf)
	a.Metrics.bytes.Add(float64(n))
	if a.err == nil {
		a.err = err
	}
	if cap(a.buf) > 1<<20 {
		a.buf = nil
	}
}

func (a *Adapter) write() {
	if err := a.out.Flush(); a.err == nil {
		a.err = err
	}
}

// ack acknowledges the batches of which nothing is held.
func (a *Adapter) ack() {
	if a.err != nil {
		return
	}
	first := a.number + 1
	for _, s := range a.streams {
		if s.file {
			first = min(first, s.oldest(first))
		}
	}
	for len(a.unacked) > 0 && a.firstNum < first {
		if !a.unacked[0].Empty() {
			a.dirty = true
		}
		a.Follower.Ack(a.unacked[0])
		a.unacked[0] = nil
		a.unacked = a.unacked[1:]
		a.firstNum++
	}
}

func (a *Adapter) restore() error {
	entries, looked, found, err := a.Kept.Load()
	if err != nil {
		return err
	}
	if found {
		a.Follower.Restore(entries, looked)
	}
	return a.keep()
}

func (a *Adapter) keep() error {
	err := a.Kept.Save(a.Follower.Entries(), a.Follower.Looked())
	if err != nil {
		a.Metrics.saveErrors.Inc()
		a.Log.Error("checkpoint not written: a restart would repeat lines", "error", err)
		return err
	}
	a.dirty = false
	a.Follower.Saved()
	return nil
}

// observe tells what there is.
func (a *Adapter) observe() {
	st := a.totals
	st.Lines = a.lines
	a.Metrics.lines.Add(float64(a.lines - a.counted))
	a.counted = a.lines
	for name, s := range a.streams {
		for _, one := range append([]*source{s}, s.all()...) {
			format := "?"
			if one.Told != nil {
				format = one.Told.Name
			} else if one.found != nil {
				format = one.found.Name
			}
			if one.held() {
				st.Held++
			}
			if one == s || one.events > 0 {
				st.Streams = append(st.Streams, StreamStatus{name, format, one.events, len(one.lines)})
			}
		}
	}
	if a.Follower != nil {
		st.Unread = a.Follower.Totals().Unread
	}
	a.Metrics.streams.Set(float64(len(st.Streams)))
	a.Metrics.unread.Set(float64(st.Unread))
	a.mu.Lock()
	defer a.mu.Unlock()
	st.Scans = a.status.Scans + 1
	a.status = st
}
