package ring

import (
	"crypto/md5"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"strings"
)

// Hash is a hash function, by twemproxy's name for it. The zero value is
// twemproxy's default, fnv1a_64.
type Hash string

// The twelve hashes. All give 32 bits, and each has twemproxy's oddities.
const (
	OneAtATime Hash = "one_at_a_time" // Bob Jenkins, 1997
	MD5        Hash = "md5"           // the first four bytes of it, little-endian
	CRC16      Hash = "crc16"         // CCITT, in a register of 32 bits that is never cut to 16
	CRC32      Hash = "crc32"         // 15 bits of the CRC-32, as libmemcached has it: a bad fit for ketama, see Space
	CRC32a     Hash = "crc32a"        // the true CRC-32
	FNV1x64    Hash = "fnv1_64"       // the low half of FNV-1-64
	FNV1ax64   Hash = "fnv1a_64"      // the low half of FNV-1a-64
	FNV1x32    Hash = "fnv1_32"
	FNV1ax32   Hash = "fnv1a_32"
	Hsieh      Hash = "hsieh"   // SuperFastHash
	Murmur     Hash = "murmur"  // MurmurHash2, seeded by the key's length
	Jenkins    Hash = "jenkins" // lookup3
)

// Hashes are all hashes, in the order of twemproxy's documentation.
var Hashes = []Hash{OneAtATime, MD5, CRC16, CRC32, CRC32a, FNV1x64, FNV1ax64, FNV1x32, FNV1ax32, Hsieh, Murmur, Jenkins}

func (h Hash) known() bool {
	for _, known := range Hashes {
		if h == known {
			return true
		}
	}
	return false
}

func names[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = string(item)
	}
	return strings.Join(texts, ", ")
}

// Space is how many values the hash has, from 0 up: 1<<32, but for crc32.
// With ketama, crc32's 1<<15 values are so small a part of the circle that one
// or two servers own nearly all of them. So it is in twemproxy as well.
func (h Hash) Space() uint64 {
	if h == CRC32 {
		return 1 << 15
	}
	return 1 << 32
}

// Sum hashes a key. With unsigned false, bytes from 0x80 on count as
// negative numbers where twemproxy's C code reads them as char: so it is on x86,
// and what a ring with keys that are not ASCII needs to agree with it. ARM's
// char has no sign. An empty key is not hashed: it is 0.
//
// It allocates nothing, and is a switch and not a table of functions so that
// the compiler sees that the key stays on the caller's stack.
func (h Hash) Sum(key []byte, unsigned bool) uint32 {
	if len(key) == 0 {
		return 0
	}
	switch h {
	case OneAtATime:
		return oneAtATime(key, unsigned)
	case MD5:
		sum := md5.Sum(key)
		return binary.LittleEndian.Uint32(sum[:])
	case CRC16:
		return crc16(key)
	case CRC32:
		return crc32.ChecksumIEEE(key) >> 16 & 0x7fff
	case CRC32a:
		return crc32.ChecksumIEEE(key)
	case FNV1x64:
		return fnv1(key, fnv64Start, fnv64Prime, unsigned)
	case FNV1x32:
		return fnv1(key, fnv32Start, fnv32Prime, unsigned)
	case FNV1ax32:
		return fnv1a(key, fnv32Start, fnv32Prime, unsigned)
	case Hsieh:
		return hsieh(key, unsigned)
	case Murmur:
		return murmur(key)
	case Jenkins:
		return jenkins(key)
	default:
		return fnv1a(key, fnv64Start, fnv64Prime, unsigned)
	}
}

// char is a byte as C's char makes an integer of it.
func char(b byte, unsigned bool) uint32 {
	if unsigned {
		return uint32(b)
	}
	return uint32(int32(int8(b)))
}

// What 64-bit FNV leaves in its low 32 bits depends on the low 32 bits alone.
const (
	fnv64Start = 0x84222325
	fnv64Prime = 0x000001b3
	fnv32Start = 0x811c9dc5
	fnv32Prime = 0x01000193
)

func fnv1(key []byte, start, prime uint32, unsigned bool) uint32 {
	h := start
	for _, b := range key {
		h = h*prime ^ char(b, unsigned)
	}
	return h
}

func fnv1a(key []byte, start, prime uint32, unsigned bool) uint32 {
	h := start
	for _, b := range key {
		h = (h ^ char(b, unsigned)) * prime
	}
	return h
}

func oneAtATime(key []byte, unsigned bool) uint32 {
	var h uint32
	for _, b := range key {
		h += char(b, unsigned)
		h += h << 10
		h ^= h >> 6
	}
	h += h << 3
	h ^= h >> 11
	return h + h<<15
}

// crc16Table is CCITT's polynomial, x^16 + x^12 + x^5 + 1, highest bit first.
var crc16Table = func() (table [256]uint32) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
		table[i] = uint32(crc)
	}
	return table
}()

func crc16(key []byte) uint32 {
	var h uint32
	for _, b := range key {
		h = h<<8 ^ crc16Table[byte(h>>8)^b]
	}
	return h
}

// hsieh has one byte that C's char signs: the last of three that are left over.
func hsieh(key []byte, unsigned bool) uint32 {
	var h uint32
	for ; len(key) >= 4; key = key[4:] {
		h += uint32(binary.LittleEndian.Uint16(key))
		h = h<<16 ^ uint32(binary.LittleEndian.Uint16(key[2:]))<<11 ^ h
		h += h >> 11
	}
	switch len(key) {
	case 3:
		h += uint32(binary.LittleEndian.Uint16(key))
		h ^= h << 16
		h ^= char(key[2], unsigned) << 18
		h += h >> 11
	case 2:
		h += uint32(binary.LittleEndian.Uint16(key))
		h ^= h << 11
		h += h >> 17
	case 1:
		h += uint32(key[0])
		h ^= h << 10
		h += h >> 1
	}
	h ^= h << 3
	h += h >> 5
	h ^= h << 4
	h += h >> 17
	h ^= h << 25
	return h + h>>6
}

func murmur(key []byte) uint32 {
	const m = 0x5bd1e995
	length := uint32(len(key))
	h := length*0xdeadbeef ^ length
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	if len(key) > 0 {
		h = (h ^ tail(key)) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

func jenkins(key []byte) uint32 {
	a := 0xdeadbeef + uint32(len(key)) + 13
	b, c := a, a
	for ; len(key) > 12; key = key[12:] {
		a += binary.LittleEndian.Uint32(key)
		b += binary.LittleEndian.Uint32(key[4:])
		c += binary.LittleEndian.Uint32(key[8:])
		a = a - c ^ bits.RotateLeft32(c, 4)
		c += b
		b = b - a ^ bits.RotateLeft32(a, 6)
		a += c
		c = c - b ^ bits.RotateLeft32(b, 8)
		b += a
		a = a - c ^ bits.RotateLeft32(c, 16)
		c += b
		b = b - a ^ bits.RotateLeft32(a, 19)
		a += c
		c = c - b ^ bits.RotateLeft32(b, 4)
		b += a
	}
	a += tail(key)
	b += tail(key[min(4, len(key)):])
	c += tail(key[min(8, len(key)):])
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	return (c ^ b) - bits.RotateLeft32(b, 24)
}

// tail is up to four bytes as a little-endian number, with zeros for those that are missing.
func tail(b []byte) (n uint32) {
	for i := range min(4, len(b)) {
		n |= uint32(b[i]) << (8 * i)
	}
	return n
}
