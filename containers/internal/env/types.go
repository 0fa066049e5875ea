package env

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Bytes is a size, written as a number with a unit: 64KiB, 1MB, 512 (bytes).
// KiB, MiB, GiB are powers of 1024; KB, MB, GB are powers of 1000.
type Bytes int64

// units in the order in which String prefers them.
var units = []struct {
	name string
	size Bytes
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"B", 1},
}

// UnmarshalText parses a size that is not negative.
func (b *Bytes) UnmarshalText(text []byte) error {
	_, want := b.SettingType()
	number, unit := string(text), Bytes(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = n, u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return numberError(err, want)
	}
	if n > uint64(math.MaxInt64/unit) {
		return fmt.Errorf("out of range")
	}
	*b = Bytes(n) * unit
	return nil
}

// String is the size in the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return "0B"
}

// MarshalText is String, so that a size reads the same in JSON and in logs.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// SettingType names the type in the documentation.
func (*Bytes) SettingType() (name, want string) { return "size", "a size like 64KiB or 1MB" }

// Addr is an address to listen on: an optional host or IP address, a colon
// and a port: ":8443", "127.0.0.1:0", "[::1]:9090". Port 0 is any free one.
type Addr string

// UnmarshalText checks the form. Whether the address can be bound is known
// only to who binds it.
func (a *Addr) UnmarshalText(text []byte) error {
	_, want := a.SettingType()
	host, port, err := net.SplitHostPort(string(text))
	if err != nil || strings.ContainsAny(host, " /%@") {
		return not(want)
	}
	// In brackets or with colons it can only be an IPv6 address.
	if strings.Contains(host, ":") || text[0] == '[' {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return not(want)
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return not(want)
	}
	*a = Addr(text)
	return nil
}

// Port is the number after the colon, 0 for an empty address.
func (a Addr) Port() int {
	_, port, _ := net.SplitHostPort(string(a))
	n, _ := strconv.Atoi(port)
	return n
}

// SettingType names the type in the documentation.
func (*Addr) SettingType() (name, want string) {
	return "address", "a listen address like :8443 or 127.0.0.1:8443"
}
