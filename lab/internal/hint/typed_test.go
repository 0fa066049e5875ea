package hint

import (
	"strings"
	"testing"
)

func TestTyped(t *testing.T) {
	const text = "sudo scripts/setup mmdebstrap (scripts/debian-image x), not /else/scripts/lab"
	for _, c := range []struct {
		at   place
		want string
	}{
		{place{clone: "/c", folder: "/c", sudo: true}, text},
		{place{clone: "/c", folder: "/", sudo: true}, "sudo c/scripts/setup mmdebstrap (c/scripts/debian-image x), not /else/scripts/lab"},
		{place{clone: "/c", folder: "/c/labs", root: true}, "/c/scripts/setup mmdebstrap (/c/scripts/debian-image x), not /else/scripts/lab"},
		{place{clone: "/c$1", folder: "/d"}, "as root: /c$1/scripts/setup mmdebstrap (/c$1/scripts/debian-image x), not /else/scripts/lab"},
		{place{folder: "/d", sudo: true}, text},
	} {
		if got := c.at.typed(text); got != c.want {
			t.Errorf("%+v:\n%s\nwant\n%s", c.at, got, c.want)
		}
	}
	if got := Service("start"); !strings.HasPrefix(got, "sudo ") {
		t.Errorf("the engine is started with %q", got)
	}
}
