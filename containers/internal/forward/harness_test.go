package forward_test

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"distlab/containers/internal/fastpath"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
	"distlab/containers/internal/httpcases"
)

const patience = httpcases.Patience

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// simple is a container that has nothing to decide.
type simple struct {
	*forward.Engine
	backend forward.Backend
	addr    string
}

// startEngine serves an engine in front of app; edit may change it before.
func startEngine(t testing.TB, app string, fast bool, edit func(*simple)) *simple {
	t.Helper()
	s := &simple{Engine: &forward.Engine{
		Forwarder: &http1.Forwarder{Scheme: "http"}, Upgrades: []string{"websocket"}, Log: slog.New(slog.DiscardHandler),
		Limits: forward.Limits{HeaderBytes: 32 << 10, Response: patience, Body: patience, DrainIdle: 50 * time.Millisecond},
	}}
	s.backend.Addr = app
	s.Handle = func(x *forward.Exchange) {
		if resp, err := x.Ask(&s.backend); err != nil {
			x.Explain(err, "the app")
		} else {
			x.Answer(resp)
		}
	}
	if fast {
		s.Fast = s
	}
	if edit != nil {
		edit(s)
	}
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	s.addr = ln.Addr().String()
	go s.Serve(ln)
	t.Cleanup(func() { s.Engine.Close() })
	return s
}

func (s *simple) Begin(*forward.Conn, *http1.Request) *forward.Backend { return &s.backend }
func (s *simple) Answer(dst []byte, _ *forward.Conn, _ *http1.Response, _ time.Time) ([]byte, bool) {
	return dst, true
}
func (s *simple) Says(dst []byte, _ *forward.Conn) []byte                { return dst }
func (s *simple) End(*forward.Conn, int, fastpath.Ending, time.Duration) {}
func (s *simple) Undo(*forward.Conn)                                     {}
func (s *simple) dial() (net.Conn, error)                                { return net.Dial("tcp", s.addr) }

func startApp(t testing.TB) *httpcases.App {
	t.Helper()
	app := must(httpcases.NewApp())
	t.Cleanup(app.Close)
	return app
}

func TestRequests(t *testing.T) {
	for name, edit := range map[string]func(*simple){
		"fast": nil, "careful": nil,
		"beside h2c": func(s *simple) { s.H2C = true }, "fast beside h2c": func(s *simple) { s.H2C = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := startApp(t)
			s := startEngine(t, app.Addr, name[0] == 'f', edit)
			for _, c := range httpcases.Requests {
				if c.NoH2C && s.H2C {
					continue
				}
				for _, complaint := range c.Run(app, s.dial) {
					t.Errorf("%s (%s): %s", c.Name, c.Why, complaint)
				}
			}
		})
	}
}

func TestRequests2(t *testing.T) {
	app := startApp(t)
	s := startEngine(t, app.Addr, true, func(s *simple) { s.H2C = true })
	for _, c := range httpcases.Requests2 {
		for _, complaint := range c.Run(app, s.dial) {
			t.Errorf("%s (%s): %s", c.Name, c.Why, complaint)
		}
	}
}
