package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"distlab/lab/internal/images"
	"distlab/lab/internal/stack"
)

// display shows what happens while it happens: on a terminal a few lines that are redrawn, elsewhere a line per
// change. It may be used from any goroutine.
type display struct {
	w     io.Writer
	live  bool
	begun time.Time

	mu     sync.Mutex
	rows   []*row
	drawn  int // lines on the screen that are ours
	stop   chan struct{}
	ended  sync.WaitGroup
	closed bool
}

// row is one thing that takes time.
type row struct {
	key, state string
	begun      time.Time
	took       time.Duration
	done       bool
	failed     bool
}

func (a *app) display() *display {
	d := &display{w: a.stderr, live: a.live, begun: time.Now(), stop: make(chan struct{})}
	if d.live {
		d.ended.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					d.mu.Lock()
					d.redraw()
					d.mu.Unlock()
				case <-d.stop:
					return
				}
			}
		})
	}
	return d
}

// set says what something is at. Done ends it.
func (d *display) set(key, state string, done, failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	var r *row
	for _, x := range d.rows {
		if x.key == key {
			r = x
		}
	}
	if r == nil {
		r = &row{key: key, begun: time.Now()}
		d.rows = append(d.rows, r)
	} else if r.state == state && r.done == done {
		return
	}
	r.state, r.done, r.failed = state, done, failed
	r.took = time.Since(r.begun)
	if d.live {
		d.redraw()
		return
	}
	fmt.Fprintf(d.w, "%s: %s (%s)\n", key, state, seconds(time.Since(d.begun)))
}

// line prints a line that stays.
func (d *display) line(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
	fmt.Fprintf(d.w, format+"\n", args...)
	if !d.closed {
		d.redraw()
	}
}

// above runs what prints to a terminal, with our lines out of the way.
func (d *display) above(print func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
	print()
	if !d.closed {
		d.redraw()
	}
}

// clear forgets the rows: a phase is over. On a terminal they go away.
func (d *display) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
	d.rows = nil
}

// close ends the display; keep leaves its last state on the screen.
func (d *display) close(keep bool) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	d.closed = true
	if d.live {
		if keep {
			d.redraw()
			d.drawn = 0
		} else {
			d.erase()
		}
	}
	d.mu.Unlock()
	close(d.stop)
	d.ended.Wait()
}

func (d *display) erase() {
	if d.live && d.drawn > 0 {
		fmt.Fprintf(d.w, "\x1b[%dA\x1b[J", d.drawn)
		d.drawn = 0
	}
}

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func (d *display) redraw() {
	if !d.live {
		return
	}
	width, height := 80, 24
	if f, ok := d.w.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			width, height = w, h
		}
	}
	var b strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", d.drawn)
	}
	rows := d.rows
	if limit := max(1, height-2); len(rows) > limit {
		rows = rows[len(rows)-limit:]
	}
	keyWidth := 0
	for _, r := range rows {
		keyWidth = max(keyWidth, len([]rune(r.key)))
	}
	for _, r := range rows {
		mark, took := string(spinner[int(time.Since(d.begun)/(100*time.Millisecond))%len(spinner)]), time.Since(r.begun)
		switch {
		case r.failed:
			mark, took = "✗", r.took
		case r.done:
			mark, took = "✓", r.took
		}
		text := fmt.Sprintf(" %s %-*s  %s", mark, keyWidth, r.key, r.state)
		clock := seconds(took)
		room := width - len(clock) - 2
		if runes := []rune(text); len(runes) > room && room > 0 {
			text = string(runes[:room-1]) + "…"
		}
		pad := max(1, room-len([]rune(text)))
		fmt.Fprintf(&b, "\x1b[2K%s%s%s\n", text, strings.Repeat(" ", min(pad, max(2, 60-len([]rune(text))))), clock)
	}
	b.WriteString("\x1b[J")
	d.drawn = len(rows)
	_, _ = io.WriteString(d.w, b.String())
}

func seconds(t time.Duration) string { return fmt.Sprintf("%.1f s", t.Seconds()) }

// image shows what happens to an image.
func (d *display) image(e images.Event) {
	text := e.Text
	if text == "" {
		text = string(e.Step)
	}
	if e.Step == images.Keep {
		d.line("%s: %s", e.Ref, text)
		return
	}
	if e.Phase == images.Done && e.Text == "" {
		text = map[images.Step]string{
			images.Compile: "compiled", images.BuildImage: "built", images.Pull: "pulled", images.Substitute: "made from Debian packages",
		}[e.Step]
	}
	d.set(e.Ref, text, e.Phase == images.Done || e.Phase == images.Failed, e.Phase == images.Failed)
}

// service shows what happens to a lab's services.
func (d *display) service(lab string) stack.Progress {
	return func(service, state string) {
		done := state == "healthy" || state == "running" || state == "removed"
		failed := state == "unhealthy" || strings.HasPrefix(state, "exited") && state != "exited with code 0"
		d.set(lab+" "+service, state, done, failed)
	}
}
