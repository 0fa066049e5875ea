package balance

import "time"

// SplitClients is nginx's split_clients over the peers' weights: each has its
// share of all hashes, in hundredths of a percent, and the last one the rest.
// A peer that cannot be used loses the key to the round robin.
func (s *Peers) SplitClients(k *Pick, key []byte, now time.Duration) int {
	if !k.begun && s.total > 0 {
		k.begun = true
		if i := s.part(Murmur2(key)); s.Usable(k, i, now) {
			s.Take(k, i, now)
			return i
		}
		k.Moved = true
	}
	return s.Smooth(k, now)
}

// Share is the peer that SplitClients gives a key to when all are usable, and
// -1 if none has a weight. It chooses nothing.
func (s *Peers) Share(key []byte) int {
	if s.total == 0 {
		return -1
	}
	return s.part(Murmur2(key))
}

// Thresholds are the hashes below which each peer's share ends. That of the
// last peer with a weight, which catches all the rest, is 0.
func (s *Peers) Thresholds() []uint32 { return s.parts }

func (s *Peers) part(h uint32) int {
	for i, limit := range s.parts {
		if h < limit && s.list[i].Weight > 0 {
			return i
		}
	}
	return s.rest
}

// newParts is the arithmetic of nginx's configuration: percents have two
// decimals, and each share is rounded down by itself. A share that rounds to
// nothing has no key.
func newParts(list []*Peer, total int) (parts []uint32, rest int) {
	parts = make([]uint32, len(list))
	for i, p := range list {
		if p.Weight > 0 {
			rest = i
		}
	}
	sum := uint32(0)
	for i, p := range list[:rest] {
		sum += Threshold(p.Weight * 10000 / total)
		parts[i] = sum
	}
	return parts, rest
}

// Threshold is what share of all hashes so many hundredths of a percent are.
func Threshold(hundredths int) uint32 { return uint32(uint64(hundredths) * 0xffffffff / 10000) }

// Murmur2 is MurmurHash2 with seed 0.
func Murmur2(key []byte) uint32 {
	const m = 0x5bd1e995
	h := uint32(len(key))
	for len(key) >= 4 {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> 24
		h = h*m ^ k*m
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
