package split

import (
	"net/netip"
	"testing"
)

// TestVectors: what nginx's algorithms give for these.
func TestVectors(t *testing.T) {
	for key, want := range map[string]uint32{"127.0.0.1": 3054706065, "user-42": 3766944517} {
		if got := murmur2([]byte(key)); got != want {
			t.Errorf("murmur2(%s) = %d, want %d", key, got, want)
		}
	}
	if got := threshold(1000); got != 429496729 {
		t.Errorf("10%% ends at %d, want 429496729", got)
	}
	for _, tt := range []struct {
		addr string
		hash uint32
		want string
	}{
		{"127.0.0.1", 4040, arm0},
		{"10.0.0.7", 2565, arm0},
		{"10.0.4.1", 2569, arm1},
		{"10.0.4.255", 2569, arm1},
	} {
		a := netip.MustParseAddr(tt.addr)
		if h := ipHashOf(a); h != tt.hash || ipHash(a) != tt.want {
			t.Errorf("ip_hash(%s) = %d, %s; want %d, %s", a, h, ipHash(a), tt.hash, tt.want)
		}
	}
}
