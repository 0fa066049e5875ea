package names

import (
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	for text, want := range map[string]bool{
		"a": true, "7": true, "node-a": true, "a.b_c-d": true, "a..b": true, strings.Repeat("a", 63): true,
		"": false, ".": false, "..": false, "-a": false, "a-": false, "a.": false, "A": false, "a b": false, "a/b": false,
		"a\n": false, "\na": false, "é": false, "a\x00b": false, strings.Repeat("a", 64): false,
	} {
		if Plain(text) != want {
			t.Errorf("%q: %t", text, !want)
		}
	}
}
