package bench

import (
	"strings"
	"testing"

	"distlab/lab/check"
)

func TestDiffer(t *testing.T) {
	base := agreed{"1.3", "TLS_AES_128_GCM_SHA256", "aa"}
	for _, c := range []struct {
		other agreed
		want  string
	}{
		{base, ""},
		{agreed{"1.2", base.cipher, "aa"}, "TLS version of a is 1.3, of b 1.2"},
		{agreed{"1.3", "TLS_AES_256_GCM_SHA384", "aa"}, "TLS cipher of a is TLS_AES_128_GCM_SHA256, of b TLS_AES_256_GCM_SHA384"},
		{agreed{"1.3", base.cipher, "bb"}, "TLS certificate of a is aa, of b bb"},
	} {
		err := differ("a", base, "b", c.other)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.other, err, c.want)
		}
	}
}

func TestSpeaksTLS(t *testing.T) {
	for _, c := range []struct {
		load check.LoadKind
		at   string
		want bool
	}{
		{check.Wrk{}, "https://pod:1/", true},
		{check.Wrk{}, "http://pod:1/", false},
		{check.Transfer{}, "https://pod:1/", true},
		{check.Handshakes{}, "pod:1", true},
		{check.Idle{TLS: true}, "pod:1", true},
		{check.Idle{}, "pod:1", false},
		{check.RedisBenchmark{}, "redis:1", false},
	} {
		if got := speaksTLS(c.load, c.at); got != c.want {
			t.Errorf("%T at %s: %v", c.load, c.at, got)
		}
	}
}
