package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Agent answers HAProxy's agent-check: a connection gets one line, and nothing need be sent for it.
//
// Source: HAProxy's Configuration Manual, "agent-check".
type Agent struct {
	Checks  *Checks
	Weight  int           // percent, 0 to say none
	MaxLag  time.Duration // at which nothing of the weight is left; 0: the lag does not count
	Metrics *metrics

	mu      sync.Mutex
	ln      net.Listener
	stopped bool
	cancel  context.CancelFunc
	conns   map[net.Conn]struct{}
	wg      sync.WaitGroup
}

const (
	// agentConns bounds those who are answered at a time; more wait in the kernel.
	agentConns = 256
	// agentPatience is how long a client may take to read its line and to close.
	agentPatience = time.Second
	// agentSaid is the most that is read of what a client says: it is of no interest, but closing before it is read
	// would reset the connection and could take the answer with it.
	agentSaid = 4 << 10
)

// Serve answers until Shutdown or Close. It owns ln.
func (a *Agent) Serve(ln net.Listener) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		ln.Close()
		return net.ErrClosed
	}
	a.ln, a.cancel, a.conns = ln, cancel, map[net.Conn]struct{}{}
	a.mu.Unlock()
	room := make(chan struct{}, agentConns)
	for {
		room <- struct{}{}
		conn, err := ln.Accept()
		if err != nil {
			a.wg.Wait() // their answers are not cancelled
			return err
		}
		if !a.begin(conn) {
			conn.Close()
			continue
		}
		go func() {
			defer func() { <-room }()
			defer a.end(conn)
			a.answer(ctx, conn)
		}()
	}
}

func (a *Agent) begin(conn net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return false
	}
	a.conns[conn] = struct{}{}
	a.wg.Add(1)
	return true
}

func (a *Agent) end(conn net.Conn) {
	conn.Close()
	a.mu.Lock()
	delete(a.conns, conn)
	a.mu.Unlock()
	a.wg.Done()
}

func (a *Agent) answer(ctx context.Context, conn net.Conn) {
	said := a.Checks.Ask(ctx, a.Checks.Ready)
	line := agentLine(said, a.Weight, a.MaxLag, a.Checks.Maintenance.Ended())
	word, _, _ := strings.Cut(line, " ")
	a.Metrics.answered("agent", word, said.Cached)
	conn.SetDeadline(time.Now().Add(agentPatience))
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		io.Copy(io.Discard, io.LimitReader(conn, agentSaid))
	}
}

// agentLine is the line. "maint" holds until "ready" takes it back; but "ready" would also take back what an operator
// has told HAProxy itself, so it is said only after a maintenance of our own.
func agentLine(said Answer, weight int, maxLag time.Duration, ended bool) string {
	switch {
	case said.Status == "maintenance":
		return "maint"
	case !said.OK:
		reason := said.Reason
		if reason == "" {
			reason = "not checked yet"
		}
		return "down #" + oneLine(reason)
	}
	line := "up"
	if ended {
		line += " ready"
	}
	if weight > 0 {
		line += fmt.Sprintf(" %d%%", lighter(weight, said.Lag, maxLag))
	}
	return line
}

// lighter takes load off a replica as it falls behind: none of its weight is left at the lag that makes it unready.
func lighter(weight int, lag *float64, most time.Duration) int {
	if lag == nil || most <= 0 {
		return weight
	}
	return max(1, int(float64(weight)*(1-*lag/most.Seconds())))
}

// oneLine keeps a reason from ending the line or the protocol's field.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// Shutdown stops accepting and waits until who is connected has been answered.
func (a *Agent) Shutdown(ctx context.Context) error {
	a.stop()
	done := make(chan struct{})
	go func() { a.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close cuts everything.
func (a *Agent) Close() error {
	a.stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel != nil {
		a.cancel()
	}
	var errs []error
	for conn := range a.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

func (a *Agent) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.ln != nil {
		a.ln.Close()
	}
}
