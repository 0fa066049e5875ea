package plan

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/ring"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const three = `redis:
  listen: 127.0.0.1:6379
  redis: true
  servers:
    - redis-a:6379:1 a
    - redis-b:6379:1 b
    - redis-c:6379:1 c
`

const four = three + "    - redis-d:6379:1 d\n"

func parse(t *testing.T, text string) []pool.Pool {
	t.Helper()
	pools, err := pool.Parse("pools.yml", []byte(text), pool.Default().Extras)
	if err != nil {
		t.Fatal(err)
	}
	return pools
}

func one(t *testing.T, before, after string) Change {
	t.Helper()
	changes, err := Compare(parse(t, before), parse(t, after))
	if err != nil || len(changes) != 1 {
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	return changes[0]
}

// near: the shares of a test are written with four digits.
var near = cmpopts.EquateApprox(0, 0.00006)

func TestFourthServer(t *testing.T) {
	want := Change{
		Pool: "redis", What: Changed, Moved: 0.2232, Method: Exact,
		Servers: []Server{
			{"a", "redis-a:6379", 0.3587, 0.2984},
			{"b", "redis-b:6379", 0.3199, 0.2319},
			{"c", "redis-c:6379", 0.3214, 0.2464},
			{"d", "redis-d:6379", 0, 0.2232},
		},
		Moves: []Move{{"b", "d", 0.0879}, {"c", "d", 0.0750}, {"a", "d", 0.0603}},
	}
	if diff := cmp.Diff(want, one(t, three, four), near); diff != "" {
		t.Errorf("change (-want +got):\n%s", diff)
	}
	back := one(t, four, three)
	if math.Abs(back.Moved-want.Moved) > 0.0001 || len(back.Moves) != 3 || back.Moves[0].From != "d" {
		t.Errorf("the way back: %+v", back)
	}
}

// TestModula: from three to four, a key stays where its hash gives the same by both: a quarter of them.
func TestModula(t *testing.T) {
	modula := strings.NewReplacer("redis: true", "redis: true\n  distribution: modula").Replace
	c := one(t, modula(three), modula(four))
	if c.Method != Exact || math.Abs(c.Moved-0.75) > 1e-8 || len(c.Moves) != 9 {
		t.Errorf("%+v", c)
	}
	if c := one(t, three, modula(three)); c.Method != Exact || math.Abs(c.Moved-2.0/3) > 0.05 {
		t.Errorf("from ketama: %+v", c)
	}
}

func TestWhatMovesNothing(t *testing.T) {
	for name, after := range map[string]string{
		"the same":                     three,
		"another order":                strings.NewReplacer("a:6379:1 a", "c:6379:1 c", "c:6379:1 c", "a:6379:1 a").Replace(three),
		"other weights that are equal": strings.ReplaceAll(three, ":1 ", ":7 "),
		"another timeout":              strings.Replace(three, "redis: true", "redis: true\n  timeout: 400", 1),
	} {
		if c := one(t, three, after); c.What != Same || c.Moved != 0 || len(c.Moves) != 0 || len(c.Notes) != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestWhoIsWho: a server is where its data is; a machine that takes over a name has the keys, but not yet the data.
func TestWhoIsWho(t *testing.T) {
	replaced := one(t, three, strings.Replace(three, "redis-c:6379", "redis-z:6379", 1))
	if replaced.What != Same || len(replaced.Notes) != 1 || !strings.Contains(replaced.Notes[0], `server "c" is at redis-z:6379 now`) {
		t.Errorf("a machine replaced: %+v", replaced)
	}
	renamed := one(t, three, strings.Replace(three, ":1 c", ":1 x", 1))
	if renamed.Moved == 0 || len(renamed.Servers) != 3 || len(renamed.Notes) != 0 {
		t.Errorf("a server renamed: %+v", renamed)
	}
	swapped := one(t, three, strings.NewReplacer("redis-a", "redis-b", "redis-b", "redis-a").Replace(three))
	if math.Abs(swapped.Moved-0.6786) > 0.0001 {
		t.Errorf("two servers that change names move all keys of both: %+v", swapped)
	}
	gone := one(t, three, strings.NewReplacer("redis-a:6379:1 a", "x:1:1 x", "redis-b:6379:1 b", "y:1:1 y", "redis-c:6379:1 c", "z:1:1 z").Replace(three))
	if math.Abs(gone.Moved-1) > 1e-9 || len(gone.Servers) != 6 {
		t.Errorf("all others: %+v", gone)
	}
}

func TestSampled(t *testing.T) {
	c := one(t, three, strings.Replace(three, "redis: true", "redis: true\n  hash: murmur", 1))
	// Of independent places, the same is hit with the sum of the products of the shares.
	if c.Method != Sampled || c.Keys != sampleSize || math.Abs(c.Moved-2.0/3) > 0.02 {
		t.Errorf("%+v", c)
	}
}

func TestNotes(t *testing.T) {
	for lines, want := range map[string]string{
		"hash_tag: '{}'":       `hash_tag "" becomes "{}": keys with tags move besides; give the keys to have them counted`,
		"hash_bytes: unsigned": "hash_bytes changes: keys that are not ASCII may move besides; give the keys to have them counted",
	} {
		c := one(t, three, strings.Replace(three, "redis: true", "redis: true\n  "+lines, 1))
		if c.What != Same || len(c.Notes) != 1 || c.Notes[0] != want {
			t.Errorf("%s: %+v", lines, c)
		}
	}
	c := one(t, three, strings.Replace(three, "redis: true", "redis: true\n  distribution: random", 1))
	if math.Abs(c.Moved-2.0/3) > 1e-9 || len(c.Notes) != 1 {
		t.Errorf("random: %+v", c)
	}
}

func TestKeys(t *testing.T) {
	before, after := parse(t, three), parse(t, strings.Replace(three, "redis: true", "redis: true\n  hash_tag: '{}'", 1))
	keys := []string{"plain", "user:{1}:a", "user:{1}:b", "é{2}"}
	from, _ := before[0].Ring()
	to, _ := after[0].Ring()
	moved := 0.0
	for _, key := range keys {
		if from.Pick([]byte(key)) != to.Pick([]byte(key)) {
			moved += 0.25
		}
	}
	changes, err := CompareKeys(before, after, strings.NewReader(strings.Join(keys, "\n")))
	if err != nil || changes[0].Method != Given || changes[0].Keys != 4 || changes[0].Moved != moved || moved == 0 {
		t.Errorf("%+v, %v, want %v moved", changes, err, moved)
	}
	if _, err := CompareKeys(before, after, strings.NewReader("")); err == nil || err.Error() != "no keys to look at" {
		t.Errorf("no keys: %v", err)
	}
}

func TestPoolsComeAndGo(t *testing.T) {
	other := strings.NewReplacer("redis:\n", "other:\n").Replace(three)
	changes, err := Compare(parse(t, three), parse(t, other))
	want := []Change{{Pool: "other", What: Added}, {Pool: "redis", What: Removed, Moved: 1}}
	if diff := cmp.Diff(want, changes); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// oneThatMoves is a key that the fourth server takes over; "a" is none.
func oneThatMoves(t *testing.T) string {
	r, err := parse(t, four)[0].Ring()
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if key := strconv.Itoa(i); r.Pick([]byte(key)) == 3 {
			return key
		}
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	before, after, bad := file("before.yml", three), file("after.yml", four), file("bad.yml", "x:\n")
	keys := file("keys", oneThatMoves(t)+"\na\n")
	for _, tt := range []struct {
		args        []string
		code        int
		out, errors string // the beginning of each
	}{
		{[]string{before, after}, 0, "pool redis: 22.32 % of the keys move (exact, for keys that hash evenly)\n", ""},
		{[]string{"-max", "25", before, after}, 0, "pool redis: 22.32 %", ""},
		{[]string{"-max", "20", before, after}, 1, "pool redis: 22.32 %", "plan: pool \"redis\": 22.32 % of the keys would move, more than 20 %\n"},
		{[]string{"-keys", keys, before, after}, 0, "pool redis: 50.00 % of the keys move (of the 2 keys given)\n", ""},
		{[]string{"-keys", keys + "x", before, after}, 1, "", "open " + keys + "x: no such file"},
		{[]string{before, bad}, 1, "", bad + ":1: pool \"x\": no settings"},
		{[]string{before}, 2, "", "usage: plan "},
		{[]string{"-o", "yaml", before, after}, 2, "", "plan: -o yaml: not text or json\n"},
		{[]string{"-x"}, 2, "", "flag provided but not defined: -x\n"},
		{[]string{"-h"}, 0, "", "usage: plan "},
	} {
		var out, errs strings.Builder
		if code := Main(tt.args, &out, &errs); code != tt.code || !strings.HasPrefix(out.String(), tt.out) || !strings.HasPrefix(errs.String(), tt.errors) ||
			(tt.out == "") != (out.String() == "") || (tt.errors == "") != (errs.String() == "") {
			t.Errorf("%v: exit code %d\n%s%s", tt.args, code, out.String(), errs.String())
		}
	}
	var out strings.Builder
	Main([]string{"-o", "json", before, after}, &out, &out)
	var got []Change
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one(t, three, four), got[0], near); diff != "" {
		t.Errorf("json (-want +got):\n%s", diff)
	}
}

// TestSharesAreWhole: whatever is compared, all shares of before and of after add up to one.
func TestSharesAreWhole(t *testing.T) {
	for _, from := range ring.Distributions {
		for _, to := range ring.Distributions {
			p := func(d ring.Distribution) []pool.Pool {
				return parse(t, strings.Replace(four, "redis: true", "redis: true\n  distribution: "+string(d), 1))
			}
			changes, err := Compare(p(from), p(to))
			if err != nil {
				t.Fatal(err)
			}
			before, after := 0.0, 0.0
			for _, s := range changes[0].Servers {
				before, after = before+s.Before, after+s.After
			}
			if math.Abs(before-1) > 1e-9 || math.Abs(after-1) > 1e-9 {
				t.Errorf("%s to %s: %v and %v", from, to, before, after)
			}
		}
	}
}
