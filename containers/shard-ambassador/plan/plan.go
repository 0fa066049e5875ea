// Package plan says what a change of pools would move: which share of the keys
// would be asked for at another server than before, per server.
//
//	for _, change := range plan.Compare(before, after) {
//		fmt.Printf("%s: %.1f %% of the keys move\n", change.Pool, 100*change.Moved)
//	}
//
// It counts arcs of ketama's circle and slots of modula, which is exact for
// keys that hash evenly. Where two pools cannot be compared so, as with another
// hash, it draws keys. CompareKeys counts keys that are really there.
package plan

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/ring"
)

// sampleSize is how many keys are drawn: the share is then off by 0.15
// percent points once in 400 times, and by more hardly ever.
const sampleSize = 1_000_000

// Change is what becomes of one pool.
type Change struct {
	Pool    string   `json:"pool"`
	What    What     `json:"what"`
	Moved   float64  `json:"moved"`            // the share of keys that are asked for elsewhere, 0 to 1
	Method  Method   `json:"method,omitempty"` // how that was found
	Keys    int      `json:"keys,omitempty"`   // how many keys were looked at, if they were
	Servers []Server `json:"servers,omitempty"`
	Moves   []Move   `json:"moves,omitempty"` // the largest first
	Notes   []string `json:"notes,omitempty"`
}

// What happens to a pool as a whole.
type What string

const (
	Same    What = "same"    // no key moves
	Changed What = "changed" // some do
	Added   What = "added"
	Removed What = "removed"
)

// Method is how shares were found.
type Method string

const (
	Exact   Method = "exact"   // all values of the hash were counted
	Sampled Method = "sampled" // random keys were drawn
	Given   Method = "given"   // the keys of CompareKeys were counted
)

// Server is one server before and after.
type Server struct {
	Name    string  `json:"name"`
	Address string  `json:"address"`
	Before  float64 `json:"before"` // its share of the keys
	After   float64 `json:"after"`
}

// Move is the share of all keys that go from one server to another.
type Move struct {
	From  string  `json:"from"`
	To    string  `json:"to"`
	Share float64 `json:"share"`
}

// Compare compares pools of the same name, in the order of the new ones, those that are gone last.
func Compare(before, after []pool.Pool) ([]Change, error) { return compare(before, after, nil) }

// CompareKeys is Compare for keys that are there, one a line.
func CompareKeys(before, after []pool.Pool, keys io.Reader) ([]Change, error) {
	var list [][]byte
	lines := bufio.NewScanner(keys)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		list = append(list, slices.Clone(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no keys to look at")
	}
	return compare(before, after, list)
}

func compare(before, after []pool.Pool, keys [][]byte) (changes []Change, err error) {
	byName := func(list []pool.Pool, name string) int {
		return slices.IndexFunc(list, func(p pool.Pool) bool { return p.Name == name })
	}
	for _, p := range after {
		i := byName(before, p.Name)
		if i < 0 {
			changes = append(changes, Change{Pool: p.Name, What: Added})
			continue
		}
		c, err := comparePool(before[i], p, keys)
		if err != nil {
			return nil, fmt.Errorf("pool %q: %w", p.Name, err)
		}
		changes = append(changes, c)
	}
	for _, p := range before {
		if byName(after, p.Name) < 0 {
			changes = append(changes, Change{Pool: p.Name, What: Removed, Moved: 1})
		}
	}
	return changes, nil
}

func comparePool(before, after pool.Pool, keys [][]byte) (Change, error) {
	c := Change{Pool: after.Name}
	from, err := before.Ring()
	if err != nil {
		return c, err
	}
	to, err := after.Ring()
	if err != nil {
		return c, err
	}
	shares := c.shares(before, after, from, to, keys)
	same, notes := match(before.Servers, after.Servers)
	c.Notes = append(c.Notes, notes...)
	c.fill(before, after, shares, same)
	return c, nil
}

// shares is the part of all keys that is at server i before and at j after, for each i and j.
func (c *Change) shares(before, after pool.Pool, from, to *ring.Ring, keys [][]byte) [][]float64 {
	if keys != nil {
		c.Method, c.Keys = Given, len(keys)
		return picks(before, after, from, to, func(yield func([]byte)) {
			for _, key := range keys {
				yield(key)
			}
		})
	}
	c.Notes = notes(before, after)
	if before.Distribution == ring.Random || after.Distribution == ring.Random {
		// Each request is drawn anew: where it went before says nothing about where it goes.
		c.Method = Exact
		return products(from.Shares(), to.Shares())
	}
	if count, ok := ring.Overlap(from, to); ok {
		c.Method = Exact
		shares := matrix(len(count), len(after.Servers))
		for i := range count {
			for j, n := range count[i] {
				shares[i][j] = float64(n) / float64(before.Hash.Space())
			}
		}
		return shares
	}
	c.Method, c.Keys = Sampled, sampleSize
	return picks(before, after, from, to, func(yield func([]byte)) {
		random := rand.New(rand.NewPCG(1, 2)) // the same keys each time: two plans can be compared
		key := make([]byte, 0, 32)
		for range sampleSize {
			yield(fmt.Appendf(key[:0], "key:%016x", random.Uint64()))
		}
	})
}

// notes tell what the shares leave out.
func notes(before, after pool.Pool) (list []string) {
	if before.HashTag != after.HashTag {
		list = append(list, fmt.Sprintf("hash_tag %q becomes %q: keys with tags move besides; give the keys to have them counted",
			before.HashTag, after.HashTag))
	}
	if before.UnsignedBytes != after.UnsignedBytes {
		list = append(list, "hash_bytes changes: keys that are not ASCII may move besides; give the keys to have them counted")
	}
	if before.Distribution == ring.Random || after.Distribution == ring.Random {
		list = append(list, "random has no place for a key: the shares are those of requests")
	}
	return list
}

func matrix(rows, columns int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, columns)
	}
	return m
}

func products(a, b []float64) [][]float64 {
	m := matrix(len(a), len(b))
	for i := range a {
		for j := range b {
			m[i][j] = a[i] * b[j]
		}
	}
	return m
}

// picks counts where keys are before and after.
func picks(before, after pool.Pool, from, to *ring.Ring, each func(yield func(key []byte))) [][]float64 {
	m, n := matrix(len(before.Servers), len(after.Servers)), 0.0
	each(func(key []byte) {
		m[from.Pick(key)][to.Pick(key)]++
		n++
	})
	for i := range m {
		for j := range m[i] {
			m[i][j] /= n
		}
	}
	return m
}

// match says for each new server which old one it is, or -1: the one at the
// same address, for that is where the data is, or else the one of the same
// name, which is how a machine is replaced.
func match(before, after []pool.Server) (same []int, notes []string) {
	same = make([]int, len(after))
	taken := make([]bool, len(before))
	find := func(j int, is func(old pool.Server) bool) {
		for i, old := range before {
			if same[j] < 0 && !taken[i] && is(old) {
				same[j], taken[i] = i, true
			}
		}
	}
	for j, s := range after {
		same[j] = -1
		find(j, func(old pool.Server) bool { return old.Addr == s.Addr && old.Name == s.Name })
	}
	for j, s := range after {
		find(j, func(old pool.Server) bool { return old.Addr == s.Addr })
	}
	for j, s := range after {
		if same[j] >= 0 {
			continue
		}
		if find(j, func(old pool.Server) bool { return old.Name == s.Name }); same[j] >= 0 {
			notes = append(notes, fmt.Sprintf("server %q is at %s now, and was at %s: its keys are not counted as moved, and have to be brought there",
				s.Name, s.Addr, before[same[j]].Addr))
		}
	}
	return same, notes
}

// fill makes the lists of a change out of shares. A server that was there
// before and is there after has one line, under its new name.
func (c *Change) fill(before, after pool.Pool, shares [][]float64, same []int) {
	names := make([]string, len(before.Servers))
	for i, s := range before.Servers {
		names[i] = s.Name
		if slices.Index(same, i) < 0 {
			c.Servers = append(c.Servers, Server{Name: s.Name, Address: s.Addr.Address, Before: sum(shares[i])})
		}
	}
	for j, s := range after.Servers {
		line := Server{Name: s.Name, Address: s.Addr.Address}
		if same[j] >= 0 {
			names[same[j]] = s.Name
			line.Before = sum(shares[same[j]])
		}
		for i := range shares {
			line.After += shares[i][j]
		}
		c.Servers = append(c.Servers, line)
	}
	for i := range shares {
		for j, share := range shares[i] {
			if same[j] != i && share > 0 {
				c.Moved += share
				c.Moves = append(c.Moves, Move{From: names[i], To: after.Servers[j].Name, Share: share})
			}
		}
	}
	slices.SortStableFunc(c.Moves, func(a, b Move) int { return cmp.Compare(b.Share, a.Share) })
	c.What = Same
	if c.Moved > 0 {
		c.What = Changed
	}
}

func sum(list []float64) (total float64) {
	for _, x := range list {
		total += x
	}
	return total
}
