package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOverlapExact compares with every hash there is, which crc32 has few enough of.
func TestOverlapExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		rings := make([]*Ring, 2)
		for i := range rings {
			cfg := Config{Hash: CRC32, Distribution: Distributions[random.IntN(2)]}
			for s := range 1 + random.IntN(6) {
				cfg.Servers = append(cfg.Servers, Server{fmt.Sprintf("%x-%d", random.Uint32(), s), 1 + random.IntN(9)})
			}
			rings[i] = build(t, cfg)
			// A ring whose arcs are all in crc32's small space.
			for k := range rings[i].points {
				rings[i].points[k].value >>= 17
			}
		}
		a, b := rings[0], rings[1]
		want := make([][]uint64, len(a.servers))
		for i := range want {
			want[i] = make([]uint64, len(b.servers))
		}
		for h := range uint32(CRC32.Space()) {
			want[a.owner(h)][b.owner(h)]++
		}
		got, ok := Overlap(a, b)
		if !ok {
			t.Fatalf("%s, %s: not ok", a.distribution, b.distribution)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s %v, %s %v (-want +got):\n%s", a.distribution, a.servers, b.distribution, b.servers, diff)
		}
		for i, share := range a.Shares() {
			n := uint64(0)
			for _, c := range want[i] {
				n += c
			}
			if math.Abs(share-float64(n)/float64(CRC32.Space())) > 1e-12 {
				t.Fatalf("%s: server %d has %v, want %d of %d", a.distribution, i, share, n, CRC32.Space())
			}
		}
	}
}

// TestOverlapWhole: no hash is lost or counted twice, in the large space either.
func TestOverlapWhole(t *testing.T) {
	for _, from := range []Distribution{Ketama, Modula} {
		for _, to := range []Distribution{Ketama, Modula} {
			a := build(t, Config{Distribution: from, Servers: equal("s%d", 3, 0)})
			b := build(t, Config{Distribution: to, Servers: equal("s%d", 4, 0)}).Without([]bool{false, true})
			count, ok := Overlap(a, b)
			if !ok {
				t.Fatalf("%s to %s: not ok", from, to)
			}
			sum := uint64(0)
			for i := range count {
				for j, n := range count[i] {
					sum += n
					if j == 1 && n != 0 {
						t.Errorf("%s to %s: %d hashes at a server that is down", from, to, n)
					}
				}
			}
			if sum != 1<<32 {
				t.Errorf("%s to %s: %d hashes, want %d", from, to, sum, uint64(1)<<32)
			}
		}
	}
}

func TestOverlapCannotTell(t *testing.T) {
	plain := build(t, Config{Servers: equal("s%d", 3, 0)})
	for name, other := range map[string]*Ring{
		"another hash": build(t, Config{Hash: MD5, Servers: equal("s%d", 3, 0)}),
		"random":       build(t, Config{Distribution: Random, Servers: equal("s%d", 3, 0)}),
	} {
		if _, ok := Overlap(plain, other); ok {
			t.Errorf("%s: ok", name)
		}
		if _, ok := Overlap(other, plain); ok {
			t.Errorf("from %s: ok", name)
		}
	}
	odd := func(w int) *Ring {
		return build(t, Config{Distribution: Modula, Servers: []Server{{"a", w}, {"b", 1}, {"c", 1}}})
	}
	if _, ok := Overlap(odd(96), odd(100)); !ok {
		t.Error("small weights: not ok")
	}
	if _, ok := Overlap(odd(4), odd(2147483629)); ok {
		t.Error("weights that hardly repeat: ok")
	}
}
