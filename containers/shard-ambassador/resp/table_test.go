package resp

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Every command of Redis 8 is known, with its arity, and with its keys where
// Redis says where they are. What blocks is refused.
func TestTableIsRedis(t *testing.T) {
	text, err := os.ReadFile("testdata/redis-8.0.2.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		n++
		var name, flags string
		var arity, first, last, step int
		if _, err := fmt.Sscan(line, &name, &arity, &first, &last, &step, &flags); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		c := Lookup([]byte(name))
		if c == nil {
			t.Errorf("%s is not known", name)
			continue
		}
		movable := strings.Contains(flags, "movablekeys")
		switch {
		case c.Action == Refused:
		case strings.Contains(flags, "blocking") && c.find == nil:
			t.Errorf("%s blocks, and is not refused", name)
		case strings.Contains(flags, "admin") || strings.Contains(flags, "pubsub"):
			t.Errorf("%s is %s, and is not refused", name, flags)
		case c.Arity != arity && !strings.HasPrefix(name, "v"): // vector sets say -1, which is too few for a key
			t.Errorf("%s has arity %d, want %d", name, c.Arity, arity)
		case movable && c.find == nil:
			t.Errorf("%s has keys that have to be looked for, and nobody does", name)
		case c.find == nil && (c.first != first || c.last != last || first > 0 && c.step != step):
			t.Errorf("%s has keys %d to %d by %d, want %d to %d by %d", name, c.first, c.last, c.step, first, last, step)
		case c.Action == Forward && c.find == nil && c.Arity < 0 && -c.Arity <= c.first:
			t.Errorf("%s may come without its key", name)
		}
	}
	if n < 250 {
		t.Errorf("%d commands, want those of a whole Redis", n)
	}
}
