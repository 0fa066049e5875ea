package proxy

import "math/bits"

// slot is the place of one request's reply among those that its client waits
// for. Replies come in any order, and leave in that of the slots.
type slot struct {
	done  bool
	begun bool   // a part of the reply is in the client's out queue already
	lost  bool   // the reply is too large to be kept, and is dropped as it comes
	buf   chunks // what has come of the reply and may not leave yet
	split *split // of a command that was taken apart
}

// slots is a ring of them. Sequence numbers go on for ever; they are what a
// shard's replies are matched with.
type slots struct {
	ring       []slot // its length is a power of two
	head, tail uint32 // sequence numbers of the first, and after the last
}

// leastSlots is the length of the shortest ring: a client without requests has none.
const (
	leastSlots  = 16
	ringClasses = 7   // up to maxPipeline
	keepRings   = 128 // spare ones of each length
)

func (s *slots) len() int { return int(s.tail - s.head) }

func (s *slots) at(seq uint32) *slot { return &s.ring[seq&uint32(len(s.ring)-1)] }

// push makes a slot at the end.
func (s *slots) push(w *worker) (*slot, uint32) {
	if s.len() == len(s.ring) {
		s.enlarge(w)
	}
	seq := s.tail
	s.tail++
	return s.at(seq), seq
}

func (s *slots) enlarge(w *worker) {
	bigger := w.getRing(max(leastSlots, 2*len(s.ring)))
	for seq := s.head; seq != s.tail; seq++ {
		bigger[seq&uint32(len(bigger)-1)] = *s.at(seq)
	}
	clear(s.ring)
	w.putRing(s.ring)
	s.ring = bigger
}

// pop gives the first slot up.
func (s *slots) pop(w *worker) {
	*s.at(s.head) = slot{}
	if s.head++; s.head == s.tail {
		w.putRing(s.ring)
		s.ring = nil
	}
}

// ringClass is which of worker.rings has rings of a length.
func ringClass(n int) int { return bits.Len(uint(n/leastSlots)) - 1 }

// getRing is a ring of n empty slots.
func (w *worker) getRing(n int) []slot {
	c := ringClass(n)
	if c < len(w.rings) && len(w.rings[c]) > 0 {
		last := len(w.rings[c]) - 1
		r := w.rings[c][last]
		w.rings[c] = w.rings[c][:last]
		return r
	}
	return make([]slot, n)
}

// putRing takes a ring back, all of whose slots are empty.
func (w *worker) putRing(r []slot) {
	if len(r) == 0 {
		return
	}
	if c := ringClass(len(r)); c < len(w.rings) && len(w.rings[c]) < keepRings {
		w.rings[c] = append(w.rings[c], r)
	}
}

// entry is a request that a shard has to answer.
type entry struct {
	client *client
	seq    uint32
	part   int32 // of a split; -1: none
	bytes  int32 // of the request
	at     int64 // when it was sent, on the loop's clock
}

// entries is a queue of them.
type entries struct {
	ring       []entry
	head, tail uint32
}

func (q *entries) len() int { return int(q.tail - q.head) }

func (q *entries) first() *entry { return &q.ring[q.head&uint32(len(q.ring)-1)] }

func (q *entries) at(i uint32) *entry { return &q.ring[i&uint32(len(q.ring)-1)] }

func (q *entries) push(e entry) {
	if q.len() == len(q.ring) {
		bigger := make([]entry, max(64, 2*len(q.ring)))
		for i := q.head; i != q.tail; i++ {
			bigger[i&uint32(len(bigger)-1)] = q.ring[i&uint32(len(q.ring)-1)]
		}
		q.ring = bigger
	}
	q.ring[q.tail&uint32(len(q.ring)-1)] = e
	q.tail++
}

func (q *entries) pop() {
	q.first().client = nil
	q.head++
}
