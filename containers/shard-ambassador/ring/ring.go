// Package ring says which server a key belongs to, exactly as twemproxy does:
// its twelve hashes, its three distributions, its hash tags, and its rounding.
//
//	r, err := ring.New(ring.Config{Servers: []ring.Server{{"a", 1}, {"b", 1}, {"c", 1}}})
//	i := r.Pick([]byte("user:1000")) // 0, 1 or 2
//
// A Ring never changes, and any number of goroutines may use it. What a
// proxy does when servers die is to swap in Without's ring for the others.
//
// Source: twemproxy's src/hashkit and nc_server.c; libketama, of Last.fm, 2007.
package ring

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Distribution is how hashes are shared out among the servers, by twemproxy's
// name for it. The zero value is twemproxy's default, ketama.
type Distribution string

const (
	// Ketama puts 160 points a server on a circle, more or fewer by weight; a
	// hash belongs to the next point. A server more or less moves few keys.
	Ketama Distribution = "ketama"
	// Modula is the hash modulo the sum of the weights. A server more or less moves most keys.
	Modula Distribution = "modula"
	// Random is any server for each request, whatever the key and the weights.
	Random Distribution = "random"
)

// Distributions are all of them.
var Distributions = []Distribution{Ketama, Modula, Random}

// Server is one server of a ring. Its name is what ketama's points are made
// of: a ring with the same names and weights is the same ring, whatever the addresses.
type Server struct {
	Name   string
	Weight int
}

// Config is what a ring is made of.
type Config struct {
	Distribution Distribution
	Hash         Hash
	HashTag      string // two bytes, such as "{}": what stands between them is hashed instead of the whole key
	Unsigned     bool   // hash bytes as ARM's char does, not x86's; see Hash.Sum
	Servers      []Server
}

// Ring maps keys to servers.
type Ring struct {
	distribution Distribution
	hash         Hash
	tagged       bool
	open, close  byte
	unsigned     bool
	servers      []Server
	order        []int    // indexes into servers, as twemproxy orders them
	live         []int    // those of order that take keys
	points       []point  // ketama: sorted by value
	bounds       []uint64 // modula: bounds[k] is where the slots of live[k] end
}

// point is a place on ketama's circle, and whose it is.
type point struct {
	value uint32
	index int32
}

// New builds the ring of a whole pool. Its errors name every mistake.
func New(cfg Config) (*Ring, error) {
	if cfg.Distribution == "" {
		cfg.Distribution = Ketama
	}
	if cfg.Hash == "" {
		cfg.Hash = FNV1ax64
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &Ring{distribution: cfg.Distribution, hash: cfg.Hash, unsigned: cfg.Unsigned, servers: slices.Clone(cfg.Servers)}
	if cfg.HashTag != "" {
		r.tagged, r.open, r.close = true, cfg.HashTag[0], cfg.HashTag[1]
	}
	r.order = order(r.servers)
	r.live = r.order
	r.build()
	return r, nil
}

func (cfg Config) check() error {
	var bad []error
	say := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if !slices.Contains(Distributions, cfg.Distribution) {
		say("distribution %q: not one of %s", cfg.Distribution, names(Distributions))
	}
	if !cfg.Hash.known() {
		say("hash %q: not one of %s", cfg.Hash, names(Hashes))
	}
	if n := len(cfg.HashTag); n != 0 && n != 2 {
		say("hash tag %q: not two characters, such as {}", cfg.HashTag)
	}
	if len(cfg.Servers) == 0 {
		say("no servers")
	}
	seen := map[string]bool{}
	total := 0
	for _, s := range cfg.Servers {
		if seen[s.Name] {
			say("two servers are named %q", s.Name)
		}
		seen[s.Name] = true
		if s.Weight < 1 || s.Weight > math.MaxInt32 {
			say("server %q: weight %d is not between 1 and %d", s.Name, s.Weight, math.MaxInt32)
			continue
		}
		total += s.Weight
	}
	if total > math.MaxUint32 {
		say("the weights add up to more than %d", uint32(math.MaxUint32))
	}
	return errors.Join(bad...)
}

// order is how twemproxy orders servers before it builds anything: by their
// names, the shorter first. The order in the pool file does not count, and
// modula's slots begin with the first here.
func order(servers []Server) []int {
	list := make([]int, len(servers))
	for i := range list {
		list[i] = i
	}
	slices.SortFunc(list, func(i, j int) int {
		a, b := servers[i].Name, servers[j].Name
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	return list
}

// build fills in what the live servers own.
func (r *Ring) build() {
	switch r.distribution {
	case Ketama:
		r.points = ketama(r.servers, r.live)
	case Modula:
		end := uint64(0)
		for _, i := range r.live {
			end += uint64(r.servers[i].Weight)
			r.bounds = append(r.bounds, end)
		}
	}
}

// ketama is the sorted points of the live servers. Each step of the arithmetic
// is rounded to 32 bits, as twemproxy's is: at 25, 47, 50, 55, 61, 71, 94, 100 and more
// equal servers each gets 156 points for that, and not 160.
//
// Where two points have one value, the earlier server of the order has it: twemproxy sorts
// with qsort, which is stable in the C libraries that it runs on.
func ketama(servers []Server, live []int) []point {
	total := uint32(0)
	for _, i := range live {
		total += uint32(servers[i].Weight)
	}
	points := make([]point, 0, 160*len(live)+4)
	for _, i := range live {
		share := float32(float32(servers[i].Weight) / float32(total))
		share = float32(share * 160)
		share = float32(share / 4)
		share = float32(share * float32(len(live)))
		name := []byte(servers[i].Name + "-")
		for k := range uint64(share) {
			sum := md5.Sum(strconv.AppendUint(name, k, 10))
			for at := 0; at < len(sum); at += 4 {
				points = append(points, point{binary.LittleEndian.Uint32(sum[at:]), int32(i)})
			}
		}
	}
	slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.value, b.value) })
	return points
}

// Without is the ring of the servers that are not down: what twemproxy makes
// when it ejects some. Keys of the others stay where they are with ketama,
// up to its rounding. Indexes stay those of the whole pool. It is nil where
// all are down. It may be asked of any ring of the pool: down is all that counts.
func (r *Ring) Without(down []bool) *Ring {
	n := &Ring{
		distribution: r.distribution, hash: r.hash, unsigned: r.unsigned,
		tagged: r.tagged, open: r.open, close: r.close, servers: r.servers, order: r.order,
	}
	for _, i := range r.order {
		if i >= len(down) || !down[i] {
			n.live = append(n.live, i)
		}
	}
	if len(n.live) == 0 {
		return nil
	}
	n.build()
	return n
}

// Pick is the index of the server that a key belongs to, or -1 of a nil ring.
// With Random every call draws anew. It allocates nothing.
func (r *Ring) Pick(key []byte) int {
	if r == nil {
		return -1
	}
	// A pool of one server hashes nothing, and neither does random.
	if r.distribution == Random {
		return r.live[rand.IntN(len(r.live))]
	}
	if len(r.servers) == 1 {
		return 0
	}
	return r.owner(r.hash.Sum(r.part(key), r.unsigned))
}

// part is what of a key is hashed: what stands between the first opening byte
// of the hash tag and the next closing one, unless it is nothing.
func (r *Ring) part(key []byte) []byte {
	if !r.tagged {
		return key
	}
	for i, b := range key {
		if b != r.open {
			continue
		}
		for j, b := range key[i+1:] {
			if b == r.close {
				if j == 0 {
					return key
				}
				return key[i+1 : i+1+j]
			}
		}
		return key
	}
	return key
}

// owner is the index of the server that a hash belongs to.
func (r *Ring) owner(hash uint32) int {
	if r.distribution == Modula {
		slot := uint64(hash) % r.bounds[len(r.bounds)-1]
		return r.live[sort.Search(len(r.bounds), func(k int) bool { return slot < r.bounds[k] })]
	}
	i := sort.Search(len(r.points), func(i int) bool { return r.points[i].value >= hash })
	if i == len(r.points) {
		i = 0
	}
	return int(r.points[i].index)
}

// Servers is the servers of the pool, live or not. It must not be changed.
func (r *Ring) Servers() []Server { return r.servers }
