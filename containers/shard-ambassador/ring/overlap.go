package ring

import (
	"math"
	"math/bits"
	"sort"
)

// maxSteps bounds how long Overlap walks two modula rings, whose weights may have a huge common multiple.
const maxSteps = 20_000_000

// Overlap says what a change from one ring to another moves: of all values of
// the hash, count[i][j] belong to server i of a and to server j of b. It is
// exact. It is not ok where that cannot be told: if the hashes differ, if one
// distribution is random, or if two modula rings have weights that repeat too
// late. Hash tags and the sign of bytes do not matter here: they are about keys.
func Overlap(a, b *Ring) (count [][]uint64, ok bool) {
	if a.hash != b.hash || a.distribution == Random || b.distribution == Random {
		return nil, false
	}
	space := a.hash.Space()
	count = make([][]uint64, len(a.servers))
	for i := range count {
		count[i] = make([]uint64, len(b.servers))
	}
	switch {
	case a.distribution == Modula && b.distribution == Modula:
		return count, a.modulas(b, count, space)
	case a.distribution == Modula:
		b.arcs(space, func(lo, hi uint64, j int) {
			a.slots(lo, hi, func(i int, n uint64) { count[i][j] += n })
		})
	case b.distribution == Modula:
		a.arcs(space, func(lo, hi uint64, i int) {
			b.slots(lo, hi, func(j int, n uint64) { count[i][j] += n })
		})
	default:
		a.walk(b, space, func(i, j int, n uint64) { count[i][j] += n })
	}
	return count, true
}

// Shares is the part of the hash's values that each server has, or of the requests with random.
func (r *Ring) Shares() []float64 {
	shares := make([]float64, len(r.servers))
	space := r.hash.Space()
	add := func(i int, n uint64) { shares[i] += float64(n) / float64(space) }
	switch r.distribution {
	case Random:
		for _, i := range r.live {
			shares[i] = 1 / float64(len(r.live))
		}
	case Modula:
		r.slots(0, space, add)
	default:
		r.arcs(space, func(lo, hi uint64, i int) { add(i, hi-lo) })
	}
	return shares
}

// next is where the run of hashes that h is in ends: from h to there, exclusive, one server has them all.
func (r *Ring) next(h uint64) uint64 {
	if r.distribution == Modula {
		total := r.bounds[len(r.bounds)-1]
		slot := h % total
		return h - slot + r.bounds[sort.Search(len(r.bounds), func(k int) bool { return slot < r.bounds[k] })]
	}
	i := sort.Search(len(r.points), func(i int) bool { return uint64(r.points[i].value) >= h })
	if i == len(r.points) {
		return 1 << 32
	}
	return uint64(r.points[i].value) + 1
}

// walk goes from 0 to end by runs that have one server in each ring.
func (r *Ring) walk(other *Ring, end uint64, visit func(i, j int, n uint64)) {
	for lo := uint64(0); lo < end; {
		hi := min(r.next(lo), other.next(lo), end)
		visit(r.owner(uint32(lo)), other.owner(uint32(lo)), hi-lo)
		lo = hi
	}
}

// arcs goes from 0 to end by runs of one ring.
func (r *Ring) arcs(end uint64, visit func(lo, hi uint64, i int)) {
	for lo := uint64(0); lo < end; {
		hi := min(r.next(lo), end)
		visit(lo, hi, r.owner(uint32(lo)))
		lo = hi
	}
}

// slots counts the hashes from lo to hi, exclusive, that each server of a modula ring has.
func (r *Ring) slots(lo, hi uint64, visit func(i int, n uint64)) {
	total, begin := r.bounds[len(r.bounds)-1], uint64(0)
	for k, end := range r.bounds {
		below := func(x uint64) uint64 {
			return x/total*(end-begin) + min(max(x%total, begin)-begin, end-begin)
		}
		visit(r.live[k], below(hi)-below(lo))
		begin = end
	}
}

// modulas counts what two modula rings share: they repeat together after the
// least common multiple of their weights, so that one such period is walked.
func (r *Ring) modulas(other *Ring, count [][]uint64, space uint64) bool {
	mine, theirs := r.bounds[len(r.bounds)-1], other.bounds[len(other.bounds)-1]
	period := uint64(math.MaxUint64)
	if high, low := bits.Mul64(mine/gcd(mine, theirs), theirs); high == 0 {
		period = low
	}
	length := min(period, space)
	if length/mine*uint64(len(r.bounds))+length/theirs*uint64(len(other.bounds)) > maxSteps {
		return false
	}
	times, rest := space/length, space%length
	r.walk(other, length, func(i, j int, n uint64) { count[i][j] += n * times })
	r.walk(other, rest, func(i, j int, n uint64) { count[i][j] += n })
	return true
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
