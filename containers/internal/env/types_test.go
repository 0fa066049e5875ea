package env

import "testing"

func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		text   string
		want   Bytes
		prints string
	}{
		{"0", 0, "0B"},
		{"512", 512, "512B"},
		{"512B", 512, "512B"},
		{"64KiB", 65536, "64KiB"},
		{"1MB", 1_000_000, "1MB"},
		{"2000KB", 2_000_000, "2MB"},
		{"1536KiB", 1536 << 10, "1536KiB"},
		{"3GiB", 3 << 30, "3GiB"},
		{"9223372036854775807", 1<<63 - 1, "9223372036854775807B"},
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(tt.text)); err != nil || b != tt.want {
			t.Errorf("%s: %d, %v, want %d", tt.text, b, err, tt.want)
		}
		if b.String() != tt.prints {
			t.Errorf("%s prints %s, want %s", tt.text, b, tt.prints)
		}
	}
	for _, text := range []string{
		"", "KiB", "-1", "+1", "1.5MiB", "1 KiB", "1K", "1kib", "1KiBKiB", "1BB",
		"9223372036854775808", "9007199254740992KiB", "99999999999999999999",
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: %d, want an error", text, b)
		}
	}
}

func TestAddr(t *testing.T) {
	for text, port := range map[string]int{
		":8443": 8443, "127.0.0.1:0": 0, "0.0.0.0:9090": 9090, "[::]:9090": 9090, "[::1]:65535": 65535, "localhost:80": 80,
	} {
		var a Addr
		if err := a.UnmarshalText([]byte(text)); err != nil || a != Addr(text) || a.Port() != port {
			t.Errorf("%s: %q, port %d, %v", text, a, a.Port(), err)
		}
	}
	for _, text := range []string{
		"", "8443", ":", ":http", ":65536", ":-1", "::1:80", "[::1]", "[localhost]:80", "[127.0.0.1]:80",
		"http://localhost:80", "a b:80", "u@h:80", "1:2:3",
	} {
		var a Addr
		if err := a.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: %q, want an error", text, a)
		}
	}
}

// FuzzBytes: what is parsed prints as something that parses to the same.
func FuzzBytes(f *testing.F) {
	for _, text := range []string{"0", "64KiB", "1MB", "7GiB", "x", "B"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var a, b Bytes
		if a.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := b.UnmarshalText([]byte(a.String())); err != nil || a != b || a < 0 {
			t.Errorf("%q: %d prints %s, which is %d, %v", text, a, a, b, err)
		}
	})
}
