//go:build linux

package reactor

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 20 * time.Second

// handle makes a func a Handler.
type handle func(Event)

func (h handle) Ready(ev Event) { h(ev) }

// start runs a loop for the length of the test, after setup has prepared it.
func start(t testing.TB, setup func(*Loop)) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	setup(l)
	ended := make(chan error)
	go func() { ended <- l.Run() }()
	t.Cleanup(func() {
		l.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l
}

// echo sends back what it reads, and keeps what there is no room for.
type echo struct {
	src  *Source
	kept []byte
	buf  []byte
}

func (e *echo) Ready(Event) {
	for {
		if len(e.kept) > 0 {
			n, err := e.src.Write(e.kept)
			e.kept = e.kept[n:]
			if err == ErrAgain {
				return
			} else if err != nil {
				e.src.Close()
				return
			}
		}
		n, err := e.src.Read(e.buf)
		if err == ErrAgain {
			return
		} else if err != nil {
			e.src.Close()
			return
		}
		e.kept = e.buf[:n]
	}
}

// serveEcho accepts on a listener of its own and echoes.
func serveEcho(t testing.TB, l *Loop, ln net.Listener) {
	t.Helper()
	fd, err := Listen(ln, 16)
	if err != nil {
		t.Fatal(err)
	}
	var src *Source
	src, err = l.Register(fd, handle(func(Event) {
		for {
			fd, err := src.Accept()
			if err != nil {
				return
			}
			NoDelay(fd)
			e := &echo{buf: make([]byte, 4096)}
			if e.src, err = l.Register(fd, e); err != nil {
				CloseFD(fd)
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestEcho(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "echo")
			}
			ln := listen(t, network, address)
			start(t, func(l *Loop) { serveEcho(t, l, ln) })
			var wait sync.WaitGroup
			for range 20 {
				wait.Go(func() {
					conn, err := net.Dial(network, ln.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					conn.SetDeadline(time.Now().Add(patience))
					sent := make([]byte, 1<<20) // more than the sockets hold: it has to wait for room
					for i := range sent {
						sent[i] = byte(rand.Uint32())
					}
					go conn.Write(sent)
					got := make([]byte, len(sent))
					if _, err := io.ReadFull(conn, got); err != nil {
						t.Error(err)
					}
					if !bytes.Equal(got, sent) {
						t.Error("something else came back")
					}
				})
			}
			wait.Wait()
		})
	}
}

// do runs f in the loop and waits for it.
func do(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { f(); close(done) }) {
		t.Fatal("the loop has ended")
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the loop does not run what was posted")
	}
}

func TestPostKeepsOrder(t *testing.T) {
	l := start(t, func(*Loop) {})
	var got []int
	for i := range 1000 {
		l.Post(func() { got = append(got, i) })
	}
	do(t, l, func() {})
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Errorf("%d of 1000, in order: %t", len(got), slices.IsSorted(got))
	}
}

func TestPostAfterTheEnd(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	l.Stop()
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if l.Post(func() { t.Error("called") }) {
		t.Error("Post says that it will be called")
	}
	l.Stop()  // harmless
	l.Close() // too
}

func TestTimers(t *testing.T) {
	l := start(t, func(*Loop) {})
	fired := make(chan int, 10)
	timers := make([]Timer, 5)
	do(t, l, func() {
		for i := range timers {
			timers[i].Fire = func() { fired <- i }
		}
		l.Arm(&timers[0], 30*time.Millisecond)
		l.Arm(&timers[1], 10*time.Millisecond)
		l.Arm(&timers[2], 20*time.Millisecond)
		l.Arm(&timers[3], time.Millisecond)
		l.Arm(&timers[4], time.Hour)
		l.Disarm(&timers[3])
		l.Disarm(&timers[3])
		l.Arm(&timers[4], 40*time.Millisecond) // moves
	})
	var got []int
	for range 4 {
		select {
		case i := <-fired:
			got = append(got, i)
		case <-time.After(patience):
			t.Fatalf("only %v fired", got)
		}
	}
	if diff := cmp.Diff([]int{1, 2, 0, 4}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	do(t, l, func() {
		for i := range timers {
			if timers[i].Armed() {
				t.Errorf("timer %d is still armed", i)
			}
		}
	})
}

// The heap against a model: whatever is armed, moved and disarmed, the next is
// always the least.
func TestTimerHeap(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	timers := make([]Timer, 50)
	armed := map[int]time.Duration{}
	for range 20000 {
		i := rand.IntN(len(timers))
		if rand.IntN(3) == 0 {
			l.Disarm(&timers[i])
			delete(armed, i)
		} else {
			d := time.Duration(rand.IntN(1000))
			l.Arm(&timers[i], d)
			armed[i] = l.now + d
		}
		if len(l.timers) != len(armed) {
			t.Fatalf("%d timers armed, want %d", len(l.timers), len(armed))
		}
		least := time.Duration(1 << 62)
		for i, when := range armed {
			least = min(least, when)
			if !timers[i].Armed() {
				t.Fatal("not armed")
			}
		}
		if len(armed) > 0 && l.timers[0].when != least {
			t.Fatalf("next at %s, want %s", l.timers[0].when, least)
		}
	}
}

// A timer armed for no time at all must not keep the loop from its other work.
func TestTimerWithoutTime(t *testing.T) {
	var spin Timer
	l := start(t, func(l *Loop) {
		spin.Fire = func() { l.Arm(&spin, 0) }
		l.Arm(&spin, 0)
	})
	do(t, l, func() { l.Disarm(&spin) })
}

// An event that is under way for a source that an earlier handler of the same
// round closed reaches neither it nor its successor in the same slot.
func TestClosedInTheSameRound(t *testing.T) {
	pair := func() (int, int) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fds[0], fds[1]
	}
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var sources [2]*Source
	calls := 0
	for i := range sources {
		fd, other := pair()
		defer syscall.Close(other)
		syscall.Write(other, []byte("x"))
		sources[i], err = l.Register(fd, handle(func(Event) {
			calls++
			sources[1-i].Close()
			fd, other := pair() // takes the slot
			t.Cleanup(func() { syscall.Close(other) })
			l.Register(fd, handle(func(Event) { t.Error("the successor got the event") }))
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	n, err := l.wait(false)
	if n != 2 || err != nil {
		t.Fatalf("%d events: %v", n, err)
	}
	l.dispatch(n)
	if calls != 1 || l.Sources() != 2 {
		t.Errorf("%d calls, %d sources, want 1 and 2", calls, l.Sources())
	}
}

func TestAgainTakesTurns(t *testing.T) {
	l := start(t, func(*Loop) {})
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[1])
	ended, turns := make(chan struct{}), 0
	do(t, l, func() {
		var src *Source
		src, err = l.Register(fds[0], handle(func(ev Event) {
			if ev&Again != 0 {
				if turns++; turns == 100 {
					close(ended)
					return
				}
			}
			src.Again()
			src.Again() // once is enough
		}))
	})
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("not called again")
	}
	do(t, l, func() {
		if turns != 100 {
			t.Errorf("%d turns, want 100", turns)
		}
	})
}

func TestDial(t *testing.T) {
	open := listen(t, "tcp", "127.0.0.1:0")
	shut := listen(t, "tcp", "127.0.0.1:0")
	shut.Close()
	l := start(t, func(*Loop) {})
	for _, tt := range []struct {
		ln   net.Listener
		want error
	}{{open, nil}, {shut, syscall.ECONNREFUSED}} {
		result := make(chan error, 1)
		do(t, l, func() {
			fd, err := DialTCP(netip.MustParseAddrPort(tt.ln.Addr().String()))
			if err != nil {
				result <- err
				return
			}
			var src *Source
			src, err = l.Register(fd, handle(func(ev Event) {
				if ev&Writable != 0 {
					select {
					case result <- src.Error():
					default:
					}
				}
			}))
			if err != nil {
				result <- err
			}
		})
		select {
		case err := <-result:
			if !errors.Is(err, tt.want) {
				t.Errorf("dial: %v, want %v", err, tt.want)
			}
		case <-time.After(patience):
			t.Fatal("the connect does not end")
		}
	}
}

// All of a listener's connections are accepted, and none after its close
// though the net.Listener is still open.
func TestClosedListenerIsOutOfEpoll(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := Listen(ln, 0)
	if err != nil {
		t.Fatal(err)
	}
	src, err := l.Register(fd, handle(func(Event) { t.Error("called") }))
	if err != nil {
		t.Fatal(err)
	}
	src.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := l.wait(false); n != 0 || err != nil {
		t.Errorf("%d events: %v", n, err)
	}
}

// BenchmarkEcho is a round trip of one small message; nothing may be allocated.
func BenchmarkEcho(b *testing.B) {
	ln := listen(b, "tcp", "127.0.0.1:0")
	start(b, func(l *Loop) { serveEcho(b, l, ln) })
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	message := []byte("*1\r\n$4\r\nPING\r\n")
	b.ReportAllocs()
	for b.Loop() {
		conn.Write(message)
		if _, err := io.ReadFull(conn, message); err != nil {
			b.Fatal(err)
		}
	}
}
