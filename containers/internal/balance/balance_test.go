package balance

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func peers(weights ...int) []*Peer {
	var list []*Peer
	for i, w := range weights {
		list = append(list, &Peer{
			Server: string(rune('a'+i)) + ":80", Weight: w, MaxFails: 1, FailTimeout: 10 * time.Second,
		})
	}
	return list
}

// sequence is the names of n choices that all succeed.
func sequence(n int, choose func(k *Pick) int) string {
	var b strings.Builder
	for range n {
		var k Pick
		if i := choose(&k); i < 0 {
			b.WriteByte('-')
		} else {
			b.WriteByte('a' + byte(i))
		}
	}
	return b.String()
}

func TestSmooth(t *testing.T) {
	s := New(peers(5, 1, 1), false)
	if got := sequence(14, func(k *Pick) int { return s.Smooth(k, 0) }); got != "aabacaaaabacaa" {
		t.Errorf("5,1,1: %s", got)
	}
	s = New(peers(9, 1), false)
	if got := strings.Count(sequence(1000, func(k *Pick) int { return s.Smooth(k, 0) }), "b"); got != 100 {
		t.Errorf("9,1: b has %d of 1000", got)
	}
	s = New(peers(0, 1, 0), false)
	if got := sequence(3, func(k *Pick) int { return s.Smooth(k, 0) }); got != "bbb" {
		t.Errorf("0,1,0: %s", got)
	}
	s = New(peers(0, 0), false)
	if got := sequence(2, func(k *Pick) int { return s.Smooth(k, 0) }); got != "--" {
		t.Errorf("0,0: %s", got)
	}
}

// A failed peer is out for fail_timeout, gets one try after it, and comes back
// little by little.
func TestFailure(t *testing.T) {
	list := peers(1, 1)
	list[0].Weight, list[0].MaxFails = 4, 2
	s := New(list, false)
	now := time.Hour
	fail := func() { list[0].conns++; Done(list[0], true, now) }
	fail()
	if list[0].Failed(now) || list[0].Effective() != 2 {
		t.Errorf("one failure of two: failed %v, effective %d", list[0].Failed(now), list[0].Effective())
	}
	fail()
	if !list[0].Failed(now) || list[0].Effective() != 0 {
		t.Errorf("two failures: failed %v, effective %d", list[0].Failed(now), list[0].Effective())
	}
	if got := sequence(5, func(k *Pick) int { return s.Smooth(k, now+10*time.Second) }); got != "bbbbb" {
		t.Errorf("within fail_timeout: %s", got)
	}
	now += 10*time.Second + 1
	got := sequence(12, func(k *Pick) int {
		i := s.Smooth(k, now)
		Done(list[i], false, now)
		return i
	})
	if got != "bbaaabaaaaba" && strings.Count(got, "a") < 6 {
		t.Errorf("after fail_timeout: %s", got)
	}
	if list[0].Fails() != 0 || list[0].Effective() != 4 {
		t.Errorf("recovered: fails %d, effective %d", list[0].Fails(), list[0].Effective())
	}
	// A success that began before the failure says nothing.
	fail()
	list[0].conns++
	Done(list[0], false, now)
	if list[0].Fails() != 1 {
		t.Errorf("an old success cleared the failure")
	}
	// The next set keeps what failed.
	fail()
	s = New(list, false)
	if got := sequence(3, func(k *Pick) int { return s.Smooth(k, now) }); got != "bbb" {
		t.Errorf("in a new set: %s", got)
	}
}

func TestUsable(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Peer)
		want string
	}{
		{"down", func(p *Peer) { p.Down = true }, "bbb"},
		{"unhealthy", func(p *Peer) { p.Unhealthy = true }, "bbb"},
		{"max_conns", func(p *Peer) { p.MaxConns = 1 }, "abb"},
	}
	for _, tt := range tests {
		list := peers(9, 1)
		tt.edit(list[0])
		s := New(list, false)
		if got := sequence(3, func(k *Pick) int { return s.Smooth(k, 0) }); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	list := peers(1, 1)
	list[0].Unhealthy, list[1].Unhealthy = true, true
	s := New(list, false)
	if got := sequence(2, func(k *Pick) int { k.Panic = true; return s.Smooth(k, 0) }); got != "ab" {
		t.Errorf("panic: %s", got)
	}
}

// Every method goes on to what it has not tried, and ends.
func TestRetry(t *testing.T) {
	client, key := netip.MustParseAddr("10.0.0.7"), []byte("user-42")
	for name, choose := range methods {
		s := New(peers(3, 2, 1), true)
		var k Pick
		seen := map[int]bool{}
		for range 3 {
			seen[choose(s, &k, client, key)] = true
		}
		if len(seen) != 3 || seen[-1] {
			t.Errorf("%s: three tries saw %v", name, seen)
		}
		if i := choose(s, &k, client, key); i != -1 {
			t.Errorf("%s: a fourth try chose %d", name, i)
		}
	}
}

var methods = map[string]func(*Peers, *Pick, netip.Addr, []byte) int{
	"smooth":  func(s *Peers, k *Pick, _ netip.Addr, _ []byte) int { return s.Smooth(k, 0) },
	"ip_hash": func(s *Peers, k *Pick, a netip.Addr, _ []byte) int { return s.IPHash(k, a, 0) },
	"hash":    func(s *Peers, k *Pick, _ netip.Addr, key []byte) int { return s.Hash(k, key, 0) },
	"consistent": func(s *Peers, k *Pick, _ netip.Addr, key []byte) int {
		return s.Consistent(k, key, 0)
	},
	"split_clients": func(s *Peers, k *Pick, _ netip.Addr, key []byte) int {
		return s.SplitClients(k, key, 0)
	},
}

func TestIPHash(t *testing.T) {
	s := New(peers(9, 1), false)
	tests := []struct {
		addr string
		hash uint32
		want int
	}{
		{"127.0.0.1", 4040, 0},
		{"10.0.0.7", 2565, 0},
		{"10.0.0.250", 2565, 0},
		{"10.0.4.1", 2569, 1},
		{"10.0.4.99", 2569, 1},
	}
	for _, tt := range tests {
		addr := netip.MustParseAddr(tt.addr)
		if got := ipHash(ipHashSeed, addr); got != tt.hash {
			t.Errorf("%s: hash %d, want %d", tt.addr, got, tt.hash)
		}
		if got := s.IPHash(new(Pick), addr, 0); got != tt.want {
			t.Errorf("%s: peer %d, want %d", tt.addr, got, tt.want)
		}
	}
	if got, want := ipHash(ipHashSeed, netip.Addr{}), ipHash(ipHashSeed, netip.MustParseAddr("0.0.0.0")); got != want {
		t.Errorf("no address: %d, want %d", got, want)
	}
}

func TestMurmur2(t *testing.T) {
	for key, want := range map[string]uint32{"127.0.0.1": 3054706065, "user-42": 3766944517} {
		if got := Murmur2([]byte(key)); got != want {
			t.Errorf("%s: %d, want %d", key, got, want)
		}
	}
}

func TestThresholds(t *testing.T) {
	if got := Threshold(1000); got != 429496729 {
		t.Errorf("10%%: %d", got)
	}
	for _, tt := range []struct {
		weights []int
		want    []uint32
	}{
		{[]int{1, 9}, []uint32{429496729, 0}},
		{[]int{1, 1, 1}, []uint32{Threshold(3333), 2 * Threshold(3333), 0}},
		{[]int{0, 1, 0}, []uint32{0, 0, 0}},
		{[]int{1, 30000}, []uint32{0, 0}},
	} {
		s := New(peers(tt.weights...), false)
		if diff := cmp.Diff(tt.want, s.Thresholds()); diff != "" {
			t.Errorf("%v: %s", tt.weights, diff)
		}
	}
	// A weight of 0 has no share, wherever it stands.
	s := New(peers(0, 1, 0), false)
	for _, key := range []string{"", "a", "user-42", "127.0.0.1"} {
		if got := s.Share([]byte(key)); got != 1 {
			t.Errorf("%q: peer %d", key, got)
		}
		if got := New(peers(1, 30000), false).Share([]byte(key)); got != 1 {
			t.Errorf("%q: a share that rounds to nothing has it", key)
		}
	}
}

func TestHostPort(t *testing.T) {
	for server, want := range map[string][2]string{
		"web": {"web", ""}, "web:8080": {"web", "8080"}, "[::1]:80": {"[::1]", "80"}, "[::1]": {"[::1]", ""},
		"web:": {"web", ""}, "unix:/run/a": {"/run/a", ""}, "web:http": {"web:http", ""},
	} {
		if host, port := hostPort(server); [2]string{host, port} != want {
			t.Errorf("%s: %q %q", server, host, port)
		}
	}
}

// Adding a third server to two moves about a third of the keys, and only to
// it.
func TestConsistentMovesFew(t *testing.T) {
	two, three := New(peers(1, 1), true), New(peers(1, 1, 1), true)
	moved := 0
	for n := range 3000 {
		key := []byte{byte(n), byte(n >> 8)}
		a, b := two.Consistent(new(Pick), key, 0), three.Consistent(new(Pick), key, 0)
		if a != b {
			moved++
			if b != 2 {
				t.Fatalf("key %d moved from %d to %d", n, a, b)
			}
		}
	}
	if moved < 600 || moved > 1400 {
		t.Errorf("%d of 3000 moved", moved)
	}
}

func TestNoAllocations(t *testing.T) {
	client, key := netip.MustParseAddr("2001:db8::1"), []byte("user-42")
	for name, choose := range methods {
		s := New(peers(9, 1, 3), true)
		var k Pick
		if n := testing.AllocsPerRun(100, func() {
			k = Pick{}
			i := choose(s, &k, client, key)
			Done(s.list[i], false, 0)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
