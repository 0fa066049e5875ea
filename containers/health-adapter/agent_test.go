package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// startAgent serves an agent; stop waits until Serve has returned.
func startAgent(t *testing.T, a *Agent) (addr string, served chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served = make(chan error, 1)
	go func() { served <- a.Serve(ln) }()
	t.Cleanup(func() { a.Close() })
	return ln.Addr().String(), served
}

// line is what an agent-check reads, to the end of the connection.
func line(t *testing.T, addr, send string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, send)
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("after %q: %v", got, err)
	}
	return string(got)
}

func TestAgent(t *testing.T) {
	c := newChecks(t)
	addr, _ := startAgent(t, &Agent{Checks: c.Checks, Weight: 100, Metrics: c.metrics})
	if got := line(t, addr, ""); got != "up 100%\n" {
		t.Errorf("up: %q", got)
	}
	// HAProxy's agent-send; it must not cost the answer.
	if got := line(t, addr, strings.Repeat("hello\n", 100)); got != "up 100%\n" {
		t.Errorf("after something was sent: %q", got)
	}
	broken := errors.New("bro\nken")
	c.ready.Store(&broken)
	if got := line(t, addr, ""); got != "down #bro ken\n" {
		t.Errorf("down: %q", got)
	}
	c.Maintenance.Switch(true)
	if got := line(t, addr, ""); got != "maint\n" {
		t.Errorf("maintenance: %q", got)
	}
	c.Maintenance.Switch(false)
	c.ready.Store(nil)
	if got := line(t, addr, ""); got != "up ready 100%\n" {
		t.Errorf("after it: %q", got)
	}
}

func TestAgentLine(t *testing.T) {
	lag := func(s float64) *float64 { return &s }
	for _, tt := range []struct {
		said   Answer
		weight int
		maxLag time.Duration
		want   string
	}{
		{Answer{OK: true}, 0, 0, "up"},
		{Answer{OK: true}, 50, 0, "up 50%"},
		{Answer{OK: true, Lag: lag(3)}, 100, 10 * time.Second, "up 70%"},
		{Answer{OK: true, Lag: lag(10)}, 100, 10 * time.Second, "up 1%"},
		{Answer{OK: true, Lag: lag(0)}, 200, 10 * time.Second, "up 200%"},
		{Answer{}, 100, 0, "down #not checked yet"},
		{Answer{Status: "maintenance", OK: true}, 100, 0, "maint"},
	} {
		if got := agentLine(tt.said, tt.weight, tt.maxLag, false); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.said, got, tt.want)
		}
	}
}

// TestAgentShutdown: who is connected is answered; then nobody is. And a client that does not read cannot hold it up.
func TestAgentShutdown(t *testing.T) {
	c := newChecks(t)
	begun, release := make(chan struct{}), make(chan struct{})
	c.Ready.Ask = func(context.Context) (Finding, error) {
		close(begun)
		<-release
		return Finding{}, nil
	}
	a := &Agent{Checks: c.Checks, Metrics: c.metrics}
	addr, served := startAgent(t, a)
	got := make(chan string, 1)
	go func() { got <- line(t, addr, "") }()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- a.Shutdown(t.Context()) }()
	eventually(t, "not accepting", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	if said := <-got; said != "up\n" {
		t.Errorf("in flight: %q", said)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	<-served
}

// TestAgentClose cuts who waits.
func TestAgentClose(t *testing.T) {
	c := newChecks(t)
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	c.Ready.Ask = func(context.Context) (Finding, error) {
		close(begun)
		<-release
		return Finding{}, nil
	}
	a := &Agent{Checks: c.Checks, Metrics: c.metrics}
	addr, served := startAgent(t, a)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a drain that was cut: %v", err)
	}
	a.Close()
	<-served
}
