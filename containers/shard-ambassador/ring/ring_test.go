package ring

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func build(t testing.TB, cfg Config) *Ring {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// equal is n servers of weight 1, named as the format says.
func equal(format string, n, first int) (servers []Server) {
	for i := range n {
		servers = append(servers, Server{fmt.Sprintf(format, i+first), 1})
	}
	return servers
}

func TestPoint(t *testing.T) {
	sum := md5.Sum([]byte("server1-8"))
	if got := binary.LittleEndian.Uint32(sum[:]); got != 3853726576 {
		t.Errorf("first point %d", got)
	}
	if got := binary.LittleEndian.Uint32(sum[12:]); got != 2667054752 {
		t.Errorf("last point %d", got)
	}
}

// TestRings has the rings computed from twemproxy's own hash code.
func TestRings(t *testing.T) {
	for _, tt := range []struct {
		name    string
		servers []Server
		want    map[string]int
	}{
		{"names", equal("server%d", 4, 1), map[string]int{"foo": 0, "bar": 3, "user:1000": 0}},
		{"the book's redis", equal("sharded-redis-%d.redis:6379", 3, 0), map[string]int{"foo": 0, "bar": 0, "user:1000": 1, "apple": 1}},
		{"the book's memcache", equal("memcache-%d.memcache", 3, 0), map[string]int{"foo": 1, "bar": 2, "apple": 0}},
		{"weights", []Server{{"127.0.0.1:6380", 1}, {"127.0.0.1:6381", 2}, {"127.0.0.1:6382", 3}}, map[string]int{"foo": 1, "bar": 2, "apple": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := build(t, Config{Servers: tt.servers})
			for key, want := range tt.want {
				if got := r.Pick([]byte(key)); got != want {
					t.Errorf("%s: server %d, want %d", key, got, want)
				}
			}
		})
	}
	r := build(t, Config{Servers: equal("sharded-redis-%d.redis:6379", 3, 0)})
	if first := r.points[0]; first != (point{823818, 2}) {
		t.Errorf("first point %v, want 823818 of server 2", first)
	}
}

// TestRounding: 32-bit arithmetic costs every server of some pools a quarter of a hash, four points.
func TestRounding(t *testing.T) {
	short := map[int]bool{25: true, 47: true, 50: true, 55: true, 61: true, 71: true, 94: true, 100: true}
	for n := 1; n <= 100; n++ {
		want := 160
		if short[n] {
			want = 156
		}
		r := build(t, Config{Servers: equal("s%d", n, 0)})
		count := make([]int, n)
		for _, p := range r.points {
			count[p.index]++
		}
		for i, got := range count {
			if got != want {
				t.Fatalf("%d servers: server %d has %d points, want %d", n, i, got, want)
			}
		}
	}
}

func TestTinyWeightOwnsNothing(t *testing.T) {
	r := build(t, Config{Servers: []Server{{"a", 1}, {"b", 1000}, {"c", 1000}}})
	for _, p := range r.points {
		if p.index == 0 {
			t.Fatal("a has a point")
		}
	}
	if only := r.Without([]bool{false, true, true}); only.Pick([]byte("x")) != 0 {
		t.Error("a does not take keys when it is alone")
	}
}

// TestOwner walks the edges of ketama's circle.
func TestOwner(t *testing.T) {
	r := build(t, Config{Servers: equal("s%d", 5, 0)})
	last := r.points[len(r.points)-1]
	for i, p := range r.points {
		if got := r.owner(p.value); got != int(p.index) {
			t.Fatalf("hash %d, a point of %d: server %d", p.value, p.index, got)
		}
		next := r.points[(i+1)%len(r.points)]
		if got := r.owner(p.value + 1); p.value != math.MaxUint32 && got != int(next.index) && next.value != p.value {
			t.Fatalf("hash %d, after a point of %d: server %d, want %d", p.value+1, p.index, got, next.index)
		}
	}
	if got := r.owner(math.MaxUint32); last.value != math.MaxUint32 && got != int(r.points[0].index) {
		t.Errorf("the greatest hash: server %d, want %d, of the first point", got, r.points[0].index)
	}
}

func TestModula(t *testing.T) {
	r := build(t, Config{Distribution: Modula, Servers: []Server{{"a", 2}, {"b", 1}, {"c", 3}}})
	slots := []int{0, 0, 1, 2, 2, 2}
	for hash := range uint32(60) {
		if got := r.owner(hash); got != slots[hash%6] {
			t.Errorf("hash %d: server %d, want %d", hash, got, slots[hash%6])
		}
	}
	r = r.Without([]bool{true, false, false})
	slots = []int{1, 2, 2, 2}
	for hash := range uint32(60) {
		if got := r.owner(hash); got != slots[hash%4] {
			t.Errorf("without a, hash %d: server %d, want %d", hash, got, slots[hash%4])
		}
	}
}

// TestOrder: modula's slots go by name, the shorter first, wherever the pool file has a server.
func TestOrder(t *testing.T) {
	r := build(t, Config{Distribution: Modula, Servers: []Server{{"server1", 1}, {"server-3", 1}, {"b", 1}, {"a", 1}}})
	slots := []int{3, 2, 0, 1}
	for hash := range uint32(40) {
		if got := r.owner(hash); got != slots[hash%4] {
			t.Errorf("hash %d: server %d, want %d", hash, got, slots[hash%4])
		}
	}
}

func TestRandom(t *testing.T) {
	r := build(t, Config{Distribution: Random, Servers: []Server{{"a", 1}, {"b", 1_000_000}, {"c", 1}}}).Without([]bool{false, false, true})
	count := make([]int, 3)
	for range 1000 {
		count[r.Pick([]byte("same"))]++
	}
	// Each of two is picked 500 times of 1,000, weights or not; 350 is 9 standard deviations away.
	if count[2] != 0 || count[0] < 350 || count[1] < 350 {
		t.Errorf("picked %v times", count)
	}
}

func TestHashTag(t *testing.T) {
	r := build(t, Config{HashTag: "{}", Servers: equal("s%d", 3, 0)})
	bars := build(t, Config{HashTag: "||", Servers: equal("s%d", 3, 0)})
	for _, tt := range []struct {
		r         *Ring
		key, want string
	}{
		{r, "user:{42}:name", "42"},
		{r, "{42}", "42"},
		{r, "no tag", "no tag"},
		{r, "empty {} tag", "empty {} tag"},
		{r, "empty {}{42}", "empty {}{42}"},
		{r, "{open", "{open"},
		{r, "closed}", "closed}"},
		{r, "}{42}", "42"},
		{r, "{{42}}", "{42"},
		{r, "{a}{b}", "a"},
		{r, "{", "{"},
		{r, "", ""},
		{bars, "a|b|c", "b"},
		{bars, "a||b|c", "a||b|c"},
		{bars, "a|b", "a|b"},
		{build(t, Config{Servers: equal("s%d", 3, 0)}), "{42}", "{42}"},
	} {
		if got := tt.r.part([]byte(tt.key)); string(got) != tt.want {
			t.Errorf("%q: hashes %q, want %q", tt.key, got, tt.want)
		}
	}
}

func TestOneServerHashesNothing(t *testing.T) {
	for _, d := range []Distribution{Ketama, Modula, Random} {
		r := build(t, Config{Distribution: d, Servers: equal("s%d", 1, 0)})
		for range 10 {
			if got := r.Pick([]byte{byte(rand.Uint32())}); got != 0 {
				t.Errorf("%s: server %d", d, got)
			}
		}
	}
}

func TestWithout(t *testing.T) {
	all := build(t, Config{HashTag: "{}", Hash: Murmur, Servers: equal("s%d", 4, 0)})
	some := all.Without([]bool{false, true, false, false})
	three := build(t, Config{HashTag: "{}", Hash: Murmur, Servers: []Server{{"s0", 1}, {"s2", 1}, {"s3", 1}}})
	for i := range 5000 {
		key := fmt.Appendf(nil, "k{%d}", i)
		before, after := all.Pick(key), some.Pick(key)
		if before != 1 && after != before {
			t.Fatalf("%s moved from %d to %d, and neither is the one that is down", key, before, after)
		}
		if want := []int{0, 2, 3}[three.Pick(key)]; after != want {
			t.Fatalf("%s: server %d, want %d, as in a pool of the other three", key, after, want)
		}
		if back := some.Without(nil).Pick(key); back != before {
			t.Fatalf("%s: server %d after all are back, want %d", key, back, before)
		}
	}
	none := all.Without([]bool{true, true, true, true})
	if none != nil || none.Pick([]byte("x")) != -1 {
		t.Error("a ring of no live server gives one")
	}
}

func TestNewErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no servers", Config{}, "no servers"},
		{"all at once", Config{
			Distribution: "rendezvous", Hash: "sha1", HashTag: "{",
			Servers: []Server{{"a", 0}, {"a", -1}, {"b", math.MaxInt32 + 1}},
		}, strings.Join([]string{
			`distribution "rendezvous": not one of ketama, modula, random`,
			`hash "sha1": not one of one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins`,
			`hash tag "{": not two characters, such as {}`,
			`server "a": weight 0 is not between 1 and 2147483647`,
			`two servers are named "a"`,
			`server "a": weight -1 is not between 1 and 2147483647`,
			`server "b": weight 2147483648 is not between 1 and 2147483647`,
		}, "\n")},
		{"too heavy", Config{Servers: []Server{{"a", math.MaxInt32}, {"b", math.MaxInt32}, {"c", 2}}}, "the weights add up to more than 4294967295"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.cfg); err == nil || err.Error() != tt.want {
				t.Errorf("error\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// TestPickAllocatesNothing: it is asked for every key of every request.
func TestPickAllocatesNothing(t *testing.T) {
	for _, hash := range Hashes {
		for _, d := range Distributions {
			r := build(t, Config{Hash: hash, Distribution: d, HashTag: "{}", Servers: equal("s%d", 3, 0)})
			key := []byte("user:{1000}:profile")
			if n := testing.AllocsPerRun(100, func() { r.Pick(key) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", hash, d, n)
			}
		}
	}
}

func BenchmarkPick(b *testing.B) {
	key := []byte("user:1000:profile")
	for _, n := range []int{3, 100} {
		for _, d := range Distributions {
			b.Run(fmt.Sprintf("%s/%d", d, n), func(b *testing.B) {
				r := build(b, Config{Distribution: d, Servers: equal("s%d", n, 0)})
				b.ReportAllocs()
				for b.Loop() {
					r.Pick(key)
				}
			})
		}
	}
}

func BenchmarkWithout(b *testing.B) {
	r := build(b, Config{Servers: equal("s%d", 100, 0)})
	down := []bool{true}
	b.ReportAllocs()
	for b.Loop() {
		r.Without(down)
	}
}
