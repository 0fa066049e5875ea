package shard

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"distlab/lab/check"
	"distlab/lab/stats"
)

// placed is where twemproxy has put keys: a server and a quoted key a line. A test of the container's asks twemproxy again.
//
//go:embed twemproxy.txt
var placed string

// sameRing writes the keys of the table, in two ways, and asks each server which of them it has.
func sameRing(m *check.M) check.Result {
	w := open(m)
	defer w.close()
	var keys, want []string
	for line := range strings.Lines(placed) {
		name, quoted, _ := strings.Cut(strings.TrimSpace(line), " ")
		keys, want = append(keys, check.Got(strconv.Unquote(quoted))), append(want, "redis-"+name)
	}
	var ways check.Ways
	look := func(way string, values []string) {
		for i, at := range whereabouts(m, shards, keys, values) {
			ways.Way(way).Note(slices.Equal(at, want[i:i+1]), "%.60q (%d bytes) is on %v, want %s", keys[i], len(keys[i]), at, want[i])
		}
	}
	values := valued(m, keys)
	w.fill(keys, values)
	look("SET", values)
	values = valued(m, keys)
	mset := []string{"MSET"}
	for i, key := range keys {
		mset = append(mset, key, values[i])
	}
	if r := check.Got(w.ask(mset...)); r.text != "OK" {
		return check.Decide(false, "MSET of %d keys: %v", len(keys), r).Want("OK").Of(1)
	}
	look("MSET", values)
	check.Got(w.all(each("EXPIRE", keys, func(int) []string { return []string{keep} })))
	return ways.Decide()
}

// ringShares are the parts of twemproxy's circle that servers named a, b and c of equal weight own. They are not
// thirds: 160 points each make it even, and not equal. A fourth one named d takes fourthShare of it. The container's
// `plan` prints them.
var ringShares = []float64{0.358691, 0.319861, 0.321448}

const fourthShare = 0.223226

// balanced writes keys of three kinds and counts them on the servers.
func balanced(m *check.M) check.Result {
	const n = 1000
	w := open(m)
	defer w.close()
	kinds := map[string]func(prefix string, i int) string{
		// Numbers alone will not do: fnv1a puts names that differ in their last digit side by side, in twemproxy as well.
		"short names": func(string, int) string { return fmt.Sprintf("%012x", m.Rand().Uint64()>>16) },
		"long names": func(prefix string, i int) string {
			return fmt.Sprintf("%s:%s:%d-%08x", prefix, strings.Repeat("x", 200), i, m.Rand().Uint32())
		},
		"bytes": func(prefix string, i int) string {
			b := []byte(prefix)
			for range 12 {
				b = append(b, byte(m.Rand().Uint32()))
			}
			return string(append(b, byte(i), byte(i>>8)))
		},
	}
	var ways check.Ways
	for name, kind := range kinds {
		keys := make([]string, n)
		for i, prefix := 0, fresh(m); i < n; i++ {
			keys[i] = kind(prefix, i)
		}
		values := valued(m, keys)
		w.fill(keys, values)
		counts, sum := make([]int, len(shards)), 0
		for _, at := range whereabouts(m, shards, keys, values) {
			for _, server := range at {
				counts[slices.Index(shards, server)]++
				sum++
			}
		}
		_, p, err := stats.ChiSquare(counts, ringShares)
		check.Must(err)
		ways.Way(name).Note(sum == n && p >= stats.AlphaOf(len(kinds)), "%v of %d keys, p = %.3g", counts, n, p)
	}
	return ways.Decide().Want("36, 32 and 32 %% of each kind, p ≥ %.2g", stats.AlphaOf(len(kinds)))
}

// fewKeysMove gives the ambassador a pool file with a fourth server, and a restart, which every proxy can take. Then it asks
// for every key: one that has moved is not there any more.
func fewKeysMove(m *check.M) check.Result {
	const n = 2000
	w := open(m)
	defer w.close()
	keys := numbered(m, fresh(m), n)
	values := valued(m, keys)
	w.fill(keys, values)
	before := owners(m, keys, values)
	file := m.Write(config, map[string][]byte{poolFile: four(m)})
	m.Heal(m.Stop(ambassador, check.Grace(patience)))
	w = open(m)
	defer w.close()
	moved, staid := make([]bool, n), check.Tally{}
	for i, r := range check.Got(w.all(each("GET", keys, nil))) {
		if moved[i] = r.kind == '_'; !moved[i] {
			staid.Note(r.is(values[i]), "%s: %v", keys[i], r)
		}
	}
	// What moved must have moved to the new server, and all else stay where it was: that is seen by writing it again.
	values = valued(m, keys)
	w.fill(keys, values)
	count := 0
	for i, at := range whereabouts(m, append(slices.Clone(shards), fourth), keys, values) {
		want := before[i]
		if moved[i] {
			want = fourth
			count++
		}
		staid.Note(slices.Equal(at, []string{want}), "%s is on %v, want %s", keys[i], at, want)
	}
	m.Heal(file)
	m.Heal(m.Stop(ambassador, check.Grace(patience)))
	p := stats.BinomialTest(count, n, fourthShare)
	return check.Decide(staid.Whole() && p >= stats.Alpha, "%d of %d keys moved (p = %.3g), %d to somewhere else, or changed",
		count, n, p, staid.Wrong()).
		Want("%.1f %%, all to the new server, p ≥ %v", 100*fourthShare, stats.Alpha).Of(n).Because("%s", staid.Odd())
}

// four is the pool file in use with the fourth server added.
func four(m *check.M) []byte {
	return append(m.ReadFile(ambassador, poolFile), "    - "+fourth+":6379:1 d\n"...)
}
