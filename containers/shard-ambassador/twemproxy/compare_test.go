package twemproxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/ring"
)

// keysPerPool is how many random keys each pool is asked for, besides the chosen ones.
const keysPerPool = 1500

// memcached is how many of the servers are also memcache-N, with port 11211.
const memcached = 3

// shapes are lists of servers as pool files have them. Server i of each list is fake i.
func shapes() map[string][]string {
	lines := func(n int, format string) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf(format, fakePort+i))
		}
		return list
	}
	numbered := func(n int, format string) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf(format, i))
		}
		return list
	}
	weighted := lines(3, "127.0.0.1:%d")
	named := lines(4, "127.0.0.1:%d")
	for i, end := range []string{":1 server1", ":7 server2", ":2 server-3", ":1 4"} {
		named[i] += end
	}
	return map[string][]string{
		"one":       lines(1, "127.0.0.1:%d:1"),
		"plain":     lines(4, "127.0.0.1:%d:1"),
		"weighted":  {weighted[0] + ":1", weighted[1] + ":2", weighted[2] + ":3"},
		"named":     named,
		"tiny":      {weighted[0] + ":1000", weighted[1] + ":1", weighted[2] + ":1000"},
		"odd":       {weighted[0] + ":33", weighted[1] + ":77", weighted[2] + ":1013"},
		"rounding":  lines(25, "127.0.0.1:%d:1"),
		"memcached": numbered(memcached, "memcache-%d.memcache:11211:1"),
		"sockets":   numbered(3, "/tmp/fake-%d.sock:1"),
	}
}

// compareKeys asks twemproxy for many keys with every hash, and each answer must come from the server that the ring says.
func compareKeys() error {
	var file strings.Builder
	at := 7000
	add := func(name string, servers []string, settings string) {
		fmt.Fprintf(&file, "%s:\n  listen: 127.0.0.1:%d\n  redis: true\n%s  servers:\n", name, at, settings)
		for _, s := range servers {
			fmt.Fprintf(&file, "    - %s\n", s)
		}
		at++
	}
	for shape, servers := range shapes() {
		for _, hash := range ring.Hashes {
			for _, d := range []ring.Distribution{ring.Ketama, ring.Modula} {
				settings := fmt.Sprintf("  hash: %s\n  distribution: %s\n", hash, d)
				add(fmt.Sprintf("%s %s %s", shape, hash, d), servers, settings)
				if shape == "plain" || shape == "named" {
					add(fmt.Sprintf("%s %s %s tag", shape, hash, d), servers, settings+"  hash_tag: \"{}\"\n")
				}
			}
		}
		add(shape+" one mark", servers, "  hash_tag: \"||\"\n")
		add(shape+" random", servers, "  distribution: random\n")
	}
	pools, stop, err := start(file.String())
	if err != nil {
		return err
	}
	defer stop()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	asked, bad := 0, []error{}
	for _, p := range pools {
		keys := makeKeys(random)
		if err := comparePool(p, keys); err != nil {
			bad = append(bad, err)
		}
		asked += len(keys)
	}
	fmt.Printf("%d pools, %d keys, seed %d\n", len(pools), asked, seed)
	return errors.Join(bad...)
}

// comparePool asks for the keys, and checks who answers.
func comparePool(p pool.Pool, keys [][]byte) error {
	r, err := p.Ring()
	if err != nil {
		return err
	}
	answers, err := ask(p.Listen.Address, keys)
	if err != nil {
		return fmt.Errorf("pool %q: %w", p.Name, err)
	}
	wrong, first := 0, ""
	seen := make([]int, len(p.Servers))
	for i, got := range answers {
		if got < 0 || got >= len(seen) {
			return fmt.Errorf("pool %q: key %q is answered by server %d, which it has not", p.Name, keys[i], got)
		}
		seen[got]++
		if want := r.Pick(keys[i]); p.Distribution != ring.Random && got != want {
			if wrong == 0 {
				first = fmt.Sprintf("key %q is at server %d, not %d", keys[i], got, want)
			}
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("pool %q: %d of %d keys are elsewhere: %s", p.Name, wrong, len(keys), first)
	}
	// Random gives every server its part whatever its weight; a server without one is missed once in e^60 times, with 25 of them.
	if p.Distribution == ring.Random && slices.Contains(seen, 0) {
		return fmt.Errorf("pool %q: a server without a key: %v", p.Name, seen)
	}
	return nil
}

// compareEjection takes one server of five away: what twemproxy makes of its ring then must be Without's.
func compareEjection() error {
	const down = 2
	var file strings.Builder
	at := 7000
	for _, d := range []ring.Distribution{ring.Ketama, ring.Modula} {
		for name, weights := range map[string][]int{"equal": {1, 1, 1, 1, 1}, "weighted": {5, 1, 30, 7, 2}} {
			fmt.Fprintf(&file, "%s %s:\n  listen: 127.0.0.1:%d\n  redis: true\n  distribution: %s\n", name, d, at, d)
			file.WriteString("  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 3600000\n  timeout: 5000\n  servers:\n")
			for i, w := range weights {
				port := fakePort + i
				if i == down {
					port = 9 // nobody is there
				}
				fmt.Fprintf(&file, "    - 127.0.0.1:%d:%d s%d\n", port, w, i)
			}
			at++
		}
	}
	pools, stop, err := start(file.String())
	if err != nil {
		return err
	}
	defer stop()
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for _, p := range pools {
		r, err := p.Ring()
		if err != nil {
			return err
		}
		// One key of the server that is down, at a time, until it is not asked any more.
		var key []byte
		for i := 0; key == nil || r.Pick(key) != down; i++ {
			key = fmt.Appendf(nil, "key-%d", i)
		}
		if err := eject(p.Listen.Address, key); err != nil {
			return fmt.Errorf("pool %q: %w", p.Name, err)
		}
		without := make([]bool, len(p.Servers))
		without[down] = true
		rest := r.Without(without)
		keys := makeKeys(random)
		answers, err := ask(p.Listen.Address, keys)
		if err != nil {
			return fmt.Errorf("pool %q, without server %d: %w", p.Name, down, err)
		}
		for i, got := range answers {
			if want := rest.Pick(keys[i]); got != want {
				return fmt.Errorf("pool %q, without server %d: key %q is at server %d, not %d", p.Name, down, keys[i], got, want)
			}
		}
	}
	fmt.Printf("%d pools, one server of each ejected\n", len(pools))
	return nil
}

// printTable asks for the keys of the lab's table, in a pool like the lab's, and prints the table as it should be.
func printTable() error {
	text, err := os.ReadFile("/table")
	if err != nil {
		return err
	}
	var keys [][]byte
	for line := range strings.Lines(string(text)) {
		_, quoted, _ := strings.Cut(strings.TrimSpace(line), " ")
		key, err := strconv.Unquote(quoted)
		if err != nil {
			return fmt.Errorf("%s: %w", quoted, err)
		}
		keys = append(keys, []byte(key))
	}
	var file strings.Builder
	file.WriteString("redis:\n  listen: 127.0.0.1:7000\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n  hash_tag: \"{}\"\n  servers:\n")
	for i, name := range []string{"a", "b", "c"} {
		fmt.Fprintf(&file, "    - 127.0.0.1:%d:1 %s\n", fakePort+i, name)
	}
	pools, stop, err := start(file.String())
	if err != nil {
		return err
	}
	defer stop()
	answers, err := ask(pools[0].Listen.Address, keys)
	if err != nil {
		return err
	}
	for i, key := range keys {
		fmt.Printf("%s %s\n", pools[0].Servers[answers[i]].Name, strconv.Quote(string(key)))
	}
	return nil
}

// makeKeys are keys of all kinds: bytes of any value, words, other scripts, tags whole and broken, the short and the long.
func makeKeys(random *rand.Rand) (keys [][]byte) {
	for b := range 256 {
		keys = append(keys, []byte{byte(b)})
	}
	for _, key := range []string{
		"apple", "é", "{}", "{}x", "{", "}", "}{", "{a}", "{a}{b}", "x{a", "a}x", "{{a}}", "{é}x", "|", "||", "|a|b|", "a||b|c|",
		"\r\n", "\x00", "\x00\x00", "$3", "*1\r\n", strings.Repeat("k", 4000), strings.Repeat("\xff", 4000),
	} {
		keys = append(keys, []byte(key))
	}
	scripts := []rune("abcxyz0189:-_ .éßñ中文字ключ🔑{}|")
	for len(keys) < keysPerPool {
		var key []byte
		switch random.IntN(4) {
		case 0:
			key = make([]byte, 1+random.IntN(40))
			for i := range key {
				key[i] = byte(random.Uint32())
			}
		case 1:
			key = fmt.Appendf(nil, "user:%d:{%d}", random.IntN(1e9), random.IntN(1000))
		case 2:
			for range 1 + random.IntN(30) {
				key = append(key, string(scripts[random.IntN(len(scripts))])...)
			}
		default:
			key = bytes.Repeat(fmt.Appendf(nil, "%x", random.Uint64()), 1+random.IntN(20))
		}
		keys = append(keys, key)
	}
	return keys
}

// extras: how bytes are hashed depends on the machine that this twemproxy was compiled for.
func extras() pool.Extras {
	e := pool.Default().Extras
	e.UnsignedBytes = runtime.GOARCH != "amd64" && runtime.GOARCH != "386"
	return e
}
