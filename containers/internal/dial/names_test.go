package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oracle is a resolver that says what it is told to, and counts.
type oracle struct {
	mu    sync.Mutex
	asked int
	addrs []netip.Addr
	err   error
	takes time.Duration
}

func (o *oracle) lookup(context.Context, string) ([]netip.Addr, error) {
	time.Sleep(o.takes)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	return o.addrs, o.err
}

func (o *oracle) say(err error, addrs ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.addrs, o.err = nil, err
	for _, a := range addrs {
		o.addrs = append(o.addrs, netip.MustParseAddr(a))
	}
}

var (
	errGone = &net.DNSError{Err: "no such host", Name: "redis-a", IsNotFound: true}
	errLost = &net.DNSError{Err: "server misbehaving", Name: "redis-a", IsTemporary: true}
)

func TestNames(t *testing.T) {
	type step struct {
		after time.Duration
		doubt bool
		err   error    // what the resolver says from now on, if it is no answer
		says  []string // what it answers
		want  string   // what Addrs is
		asked int      // questions so far
	}
	one, two := []string{"10.0.0.1"}, []string{"10.0.0.2"}
	for _, tt := range []struct {
		name        string
		keep, stale time.Duration
		steps       []step
	}{
		{"an answer holds for Keep", time.Minute, 0, []step{
			{says: one, want: "10.0.0.1:6379", asked: 1},
			{after: 59 * time.Second, says: two, want: "10.0.0.1:6379", asked: 1},
			{after: time.Second, says: two, want: "10.0.0.2:6379", asked: 2},
		}},
		{"in doubt it is asked for again", time.Minute, 0, []step{
			{says: one, want: "10.0.0.1:6379", asked: 1},
			{after: time.Second, doubt: true, says: two, want: "10.0.0.2:6379", asked: 2},
			{after: time.Second, says: one, want: "10.0.0.2:6379", asked: 2},
		}},
		{"but not with every failure", time.Minute, 0, []step{
			{says: one, want: "10.0.0.1:6379", asked: 1},
			{after: 199 * time.Millisecond, doubt: true, says: two, want: "10.0.0.1:6379", asked: 1},
			{after: time.Millisecond, says: two, want: "10.0.0.2:6379", asked: 2},
		}},
		{"without Keep each time", 0, 0, []step{
			{says: one, want: "10.0.0.1:6379", asked: 1},
			{after: 200 * time.Millisecond, says: two, want: "10.0.0.2:6379", asked: 2},
		}},
		{"where nobody can be asked the last answer stands in", time.Minute, time.Hour, []step{
			{says: one, want: "10.0.0.1:6379", asked: 1},
			{after: time.Minute, err: errLost, want: "10.0.0.1:6379", asked: 2},
			{after: time.Second, err: errLost, want: "10.0.0.1:6379", asked: 3},
			{after: time.Second, says: two, want: "10.0.0.2:6379", asked: 4},
			{after: time.Hour, err: errLost, want: errLost.Error(), asked: 5},
		}},
		{"never without Stale", time.Minute, 0, []step{
			{says: one, want: "10.0.0.1:6379", asked: 1},
			{after: time.Minute, err: errLost, want: errLost.Error(), asked: 2},
		}},
		{"a name that is gone is gone", time.Minute, time.Hour, []step{
			{says: one, want: "10.0.0.1:6379", asked: 1},
			{after: time.Minute, err: errGone, want: errGone.Error(), asked: 2},
			{after: 199 * time.Millisecond, says: two, want: errGone.Error(), asked: 2},
			{after: time.Millisecond, says: two, want: "10.0.0.2:6379", asked: 3},
		}},
		{"no address is no name", 0, 0, []step{
			{want: errGone.Error(), asked: 1},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var o oracle
				n := &Names{Keep: tt.keep, Stale: tt.stale, Lookup: o.lookup}
				for i, s := range tt.steps {
					time.Sleep(s.after)
					if s.doubt {
						n.Doubt("redis-a:6379")
					}
					o.say(s.err, s.says...)
					got := "none"
					known, ok := n.Known("redis-a:6379")
					if addrs, err := n.Addrs(t.Context(), "redis-a:6379"); err != nil {
						got = err.Error()
					} else {
						got = addrs[0].String()
						if ok && known[0] != addrs[0] {
							t.Errorf("step %d: known is %v, the answer %v", i, known, addrs)
						}
					}
					if got != s.want || o.asked != s.asked {
						t.Errorf("step %d: %s after %d questions, want %s after %d", i, got, o.asked, s.want, s.asked)
					}
				}
			})
		})
	}
}

func TestOneQuestionForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := oracle{takes: time.Second}
		o.say(nil, "10.0.0.1")
		n := &Names{Lookup: o.lookup}
		var wait sync.WaitGroup
		for range 100 {
			wait.Go(func() {
				if _, err := n.Addrs(t.Context(), "redis-a:6379"); err != nil {
					t.Error(err)
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := n.Addrs(ctx, "redis-a:6379"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who may not wait gets %v", err)
		}
		wait.Wait()
		if o.asked != 1 {
			t.Errorf("%d questions", o.asked)
		}
	})
}

func TestNamesAreBounded(t *testing.T) {
	n := &Names{Keep: time.Hour, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
	}}
	for i := range 3 * mostNames {
		if _, err := n.Addrs(t.Context(), fmt.Sprintf("host-%d:80", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(n.names) > mostNames {
		t.Errorf("%d names are kept", len(n.names))
	}
}

// TestNoQuestion: an address is no name, and an empty host this machine, as net.Dial has it.
func TestNoQuestion(t *testing.T) {
	n := &Names{}
	for address, want := range map[string][]string{
		"10.0.0.1:6379":            {"10.0.0.1:6379"},
		"[2001:db8::1]:6379":       {"[2001:db8::1]:6379"},
		"[::ffff:10.0.0.1]:6379":   {"10.0.0.1:6379"},
		"[fe80::1%eth0]:6379":      {"[fe80::1%eth0]:6379"},
		":6379":                    {"127.0.0.1:6379", "[::1]:6379"},
		"10.0.0.1:https":           {"10.0.0.1:443"},
		"10.0.0.1":                 nil,
		"10.0.0.1:65536":           nil,
		"10.0.0.1:no-such-service": nil,
	} {
		addrs, err := n.Addrs(t.Context(), address)
		if (err != nil) != (want == nil) {
			t.Errorf("%s: %v", address, err)
		}
		var got []string
		for _, a := range addrs {
			got = append(got, a.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
}

// TestFamiliesTakeTurns is RFC 8305, 4.
func TestFamiliesTakeTurns(t *testing.T) {
	for _, tt := range []struct{ in, want []string }{
		{[]string{"10.0.0.1", "10.0.0.2"}, []string{"10.0.0.1", "10.0.0.2"}},
		{[]string{"::1", "::2", "::3", "10.0.0.1"}, []string{"::1", "10.0.0.1", "::2", "::3"}},
		{[]string{"10.0.0.1", "10.0.0.2", "::1", "::2"}, []string{"10.0.0.1", "::1", "10.0.0.2", "::2"}},
		{[]string{"10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"}, []string{"10.0.0.1"}},
	} {
		var in []netip.Addr
		for _, a := range tt.in {
			in = append(in, netip.MustParseAddr(a))
		}
		var got []string
		for _, a := range join(in, 1) {
			got = append(got, a.Addr().String())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestLocal(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	many := func(errs ...error) error {
		e := &Error{Address: "redis-a:6379"}
		for _, err := range errs {
			e.Tries = append(e.Tries, Try{netip.MustParseAddrPort("10.0.0.1:6379"), err})
		}
		return fmt.Errorf("shard a: %w", e)
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{syscall.EMFILE, true},
		{op(syscall.ENFILE), true},
		{op(syscall.ENOMEM), true},
		{op(syscall.ENOBUFS), true},
		{op(syscall.EADDRNOTAVAIL), true},
		{op(syscall.ECONNREFUSED), false},
		{op(syscall.EHOSTUNREACH), false},
		{op(syscall.ENETUNREACH), false},
		{context.DeadlineExceeded, false},
		{errGone, false},
		{errLost, false},
		{&net.DNSError{Err: "dial udp 127.0.0.11:53: socket: too many open files"}, true},
		{many(syscall.ECONNREFUSED), false},
		{many(syscall.ECONNREFUSED, syscall.EMFILE), true},         // the second might have answered
		{many(syscall.EADDRNOTAVAIL, syscall.ECONNREFUSED), false}, // no IPv6 here: the server has another address
		{many(syscall.EADDRNOTAVAIL, syscall.EADDRNOTAVAIL), true},
		{many(), false},
	} {
		if got := Local(tt.err); got != tt.want {
			t.Errorf("%v: local %v, want %v", tt.err, got, tt.want)
		}
	}
}
