package split

import (
	"encoding/binary"
	"net/netip"
)

// What nginx would choose for weights of 9 and 1, computed here from its algorithms, and not by asking the splitter.

// murmur2 is MurmurHash2 with seed 0, as nginx has it. Source: ngx_murmurhash.c.
func murmur2(data []byte) uint32 {
	const m = 0x5bd1e995
	h := uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := binary.LittleEndian.Uint32(data) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// splitClients is the side of a key: `split_clients KEY { 90% production; * experiment; }`.
// Source: ngx_http_split_clients_module.c.
func splitClients(key string) string {
	if murmur2([]byte(key)) < threshold(9000) {
		return arm0
	}
	return arm1
}

// threshold is where a share ends, in hundredths of a percent.
func threshold(hundredths uint64) uint32 { return uint32(hundredths * 0xffffffff / 10000) }

// ipHash is the side of an IPv4 address: `ip_hash; server production weight=9; server experiment;`.
// Source: ngx_http_upstream_ip_hash_module.c.
func ipHash(a netip.Addr) string {
	if ipHashOf(a)%10 < 9 {
		return arm0
	}
	return arm1
}

func ipHashOf(a netip.Addr) uint32 {
	h := uint32(89)
	b := a.As4()
	for _, octet := range b[:3] { // a /24 stays together
		h = (h*113 + uint32(octet)) % 6271
	}
	return h
}
