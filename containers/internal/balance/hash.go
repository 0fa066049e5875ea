package balance

import (
	"cmp"
	"hash/crc32"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hashTries is after how many unusable choices nginx gives the hash up for
// the round robin.
const hashTries = 20

// IPHash is nginx's ip_hash: the first three bytes of an IPv4 address, all of
// an IPv6 one. Whatever is neither has one address for all.
func (s *Peers) IPHash(k *Pick, client netip.Addr, now time.Duration) int {
	if !k.begun {
		k.begun, k.hash = true, ipHashSeed
	}
	for k.tries <= hashTries && len(s.list) > 1 && s.total > 0 {
		k.hash = ipHash(k.hash, client)
		i := s.at(k.hash)
		if s.Usable(k, i, now) {
			s.Take(k, i, now)
			return i
		}
		k.Moved = true
		k.tries++
	}
	return s.Smooth(k, now)
}

const ipHashSeed = 89

func ipHash(h uint32, client netip.Addr) uint32 {
	step := func(b byte) { h = (h*113 + uint32(b)) % 6271 }
	if client.Is6() {
		for _, b := range client.As16() {
			step(b)
		}
		return h
	}
	var b [4]byte
	if client.Is4() {
		b = client.As4()
	}
	step(b[0])
	step(b[1])
	step(b[2])
	return h
}

// at is the peer that the weights give to a hash.
func (s *Peers) at(h uint32) int {
	w := int(h % uint32(s.total))
	for i, p := range s.list {
		if w < p.Weight {
			return i
		}
		w -= p.Weight
	}
	panic("balance: weights do not add up")
}

// Hash is nginx's hash, which is Cache::Memcached's. An empty key has no place
// and is left to the round robin.
func (s *Peers) Hash(k *Pick, key []byte, now time.Duration) int {
	for k.tries <= hashTries && len(s.list) > 1 && len(key) > 0 && s.total > 0 {
		k.hash += memcachedHash(k.rehash, key)
		k.rehash++
		i := s.at(k.hash)
		if s.Usable(k, i, now) {
			s.Take(k, i, now)
			return i
		}
		k.Moved = true
		k.tries++
	}
	return s.Smooth(k, now)
}

func memcachedHash(rehash uint32, key []byte) uint32 {
	c := ^uint32(0)
	if rehash > 0 {
		var digits [10]byte
		c = crc(c, strconv.AppendUint(digits[:0], uint64(rehash), 10))
	}
	return ^crc(c, key) >> 16 & 0x7fff
}

// crc is the inner loop of CRC-32: hash/crc32 starts and ends a sum at each
// call, and lets its argument escape to the heap.
func crc(c uint32, p []byte) uint32 {
	for _, b := range p {
		c = crc32.IEEETable[byte(c)^b] ^ c>>8
	}
	return c
}

// point is one place on the ring.
type point struct {
	hash uint32
	peer int32 // the first of that name
}

// pointsPerWeight is how many points a unit of weight has.
const pointsPerWeight = 160

func newPoints(list []*Peer) []point {
	var points []point
	for i, p := range list {
		host, port := hostPort(p.Server)
		base := crc(^uint32(0), []byte(host))
		base = crc(base, []byte{0})
		base = crc(base, []byte(port))
		prev := uint32(0)
		for range p.Weight * pointsPerWeight {
			prev = ^crc(base, []byte{byte(prev), byte(prev >> 8), byte(prev >> 16), byte(prev >> 24)})
			points = append(points, point{prev, int32(i)})
		}
	}
	slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.hash, b.hash) })
	return slices.Clip(slices.CompactFunc(points, func(a, b point) bool { return a.hash == b.hash }))
}

// hostPort splits as nginx does: at the last colon if only digits follow.
func hostPort(server string) (host, port string) {
	if len(server) >= 5 && strings.EqualFold(server[:5], "unix:") {
		return server[5:], ""
	}
	i := strings.LastIndexByte(server, ':')
	if i < 0 || strings.Trim(server[i+1:], "0123456789") != "" {
		return server, ""
	}
	return server[:i], server[i+1:]
}

// Consistent is nginx's hash … consistent, which is Cache::Memcached::Fast's
// ketama. Peers of one name share their points, by round robin.
func (s *Peers) Consistent(k *Pick, key []byte, now time.Duration) int {
	if len(s.list) > 1 && len(key) > 0 && len(s.points) > 0 {
		if !k.begun {
			k.begun, k.hash = true, s.point(^crc(^uint32(0), key))
		}
		for k.tries <= hashTries {
			server := s.list[s.points[k.hash%uint32(len(s.points))].peer].Server
			if i := s.smooth(k, now, server); i >= 0 {
				s.Take(k, i, now)
				return i
			}
			k.hash++
			k.Moved = true
			k.tries++
		}
	}
	return s.Smooth(k, now)
}

// point is the index of the first point at or after a hash.
func (s *Peers) point(h uint32) uint32 {
	i, _ := slices.BinarySearchFunc(s.points, h, func(p point, h uint32) int { return cmp.Compare(p.hash, h) })
	return uint32(i)
}

// IPHashOf is what ip_hash makes of an address at the first try.
func IPHashOf(client netip.Addr) uint32 { return ipHash(ipHashSeed, client) }

// PointOf is the point that Consistent finds for a key, whose it is (-1: there
// is none), and of how many.
func (s *Peers) PointOf(key []byte) (hash uint32, peer, points int) {
	n := len(s.points)
	if n == 0 {
		return 0, -1, 0
	}
	p := s.points[int(s.point(^crc(^uint32(0), key)))%n]
	return p.hash, int(p.peer), n
}
