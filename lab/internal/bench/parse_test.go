package bench

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testdata is what the programs printed: wrk 4.1.0 and redis-benchmark 8.0.2, of Debian 13.
func testdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var compareWork = cmp.AllowUnexported(work{})

func TestParseWrk(t *testing.T) {
	for _, c := range []struct {
		file string
		want work
	}{
		{"wrk.txt", work{units: 8663, seconds: 2.05, p50: 0.01343, p99: 0.08735}},
		{"wrk-404.txt", work{units: 17891, seconds: 1.1, p50: 0.000223, p99: 0.00968, invalid: "Non-2xx or 3xx responses: 17891"}},
		{"wrk-gone.txt", work{units: 816, seconds: 2, p50: 0.00631, p99: 0.01914, invalid: "Socket errors: connect 0, read 20, write 632, timeout 0"}},
	} {
		got, err := parseWrk(testdata(t, c.file))
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
		}
		if diff := cmp.Diff(c.want, got, compareWork); diff != "" {
			t.Errorf("%s:\n%s", c.file, diff)
		}
	}
	none := strings.Replace(testdata(t, "wrk.txt"), "8663 requests", "0 requests", 1)
	if got, err := parseWrk(none); err != nil || got.invalid == "" {
		t.Errorf("no request: %+v, %v", got, err)
	}
	for _, bad := range []string{"", "unable to connect", "  1 requests in soon, 2B read\n", "  7 requests in 0.00s, 2B read\n"} {
		if got, err := parseWrk(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestParseRedis(t *testing.T) {
	got, err := parseRedis(testdata(t, "redis.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(work{units: 555555.56, p50: 0.001175, p99: 0.003599}, got, compareWork); diff != "" {
		t.Errorf("redis.csv:\n%s", diff)
	}
	head, _, _ := strings.Cut(testdata(t, "redis.csv"), "\n")
	for _, bad := range []string{"", head + "\n", "\"test\"\n\"x\"\n", head + "\n\"a\",\"b\"\n", `"unended`} {
		if got, err := parseRedis(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestHostPort(t *testing.T) {
	for at, want := range map[string]string{"https://pod:8443/small": "pod 8443", "redis:6379": "redis 6379", "http://[::1]:80/": "::1 80"} {
		if host, port := hostPort(at); host+" "+port != want {
			t.Errorf("%s: %s %s, want %s", at, host, port, want)
		}
	}
}
