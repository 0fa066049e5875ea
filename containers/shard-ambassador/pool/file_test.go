package pool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"distlab/containers/shard-ambassador/ring"

	"github.com/google/go-cmp/cmp"
)

// book is the pool of the book's ambassador.
const book = `redis:
  listen: 127.0.0.1:6379
  hash: fnv1a_64
  distribution: ketama
  auto_eject_hosts: true
  redis: true
  timeout: 400
  server_retry_timeout: 2000
  server_failure_limit: 1
  servers:
   - sharded-redis-0.redis:6379:1
   - sharded-redis-1.redis:6379:1
   - sharded-redis-2.redis:6379:1
`

func tcp(address string) Addr { return Addr{"tcp", address} }

func TestParse(t *testing.T) {
	pool := func(change func(p *Pool)) []Pool {
		p := Default()
		p.Name, p.Listen = "alpha", Listen{Addr: tcp("127.0.0.1:7000")}
		p.Servers = []Server{{tcp("127.0.0.1:7001"), 1, "127.0.0.1:7001"}}
		if change != nil {
			change(&p)
		}
		return []Pool{p}
	}
	const short = "alpha:\n  listen: 127.0.0.1:7000\n  servers:\n    - 127.0.0.1:7001:1\n"
	for _, tt := range []struct {
		name, text string
		want       []Pool
	}{
		{"defaults", short, pool(nil)},
		{"the book's", book, []Pool{{
			Name: "redis", Listen: Listen{Addr: tcp("127.0.0.1:6379")}, Hash: ring.FNV1ax64, Distribution: ring.Ketama,
			Timeout: 400 * time.Millisecond, Backlog: 512, Redis: true, ServerConnections: 1, AutoEjectHosts: true,
			ServerRetryTimeout: 2 * time.Second, ServerFailureLimit: 1,
			Servers: []Server{
				{tcp("sharded-redis-0.redis:6379"), 1, "sharded-redis-0.redis:6379"},
				{tcp("sharded-redis-1.redis:6379"), 1, "sharded-redis-1.redis:6379"},
				{tcp("sharded-redis-2.redis:6379"), 1, "sharded-redis-2.redis:6379"},
			},
			Extras: Default().Extras,
		}}},
		{"every key", short + `  client_connections: 7
  hash: murmur
  hash_tag: "{}"
  distribution: modula
  timeout: '400'
  backlog: 1024
  tcpkeepalive: true
  preconnect: true
  redis: true
  redis_auth: "s3cret # no comment"
  redis_db: 3
  server_connections: 4
  auto_eject_hosts: true
  server_retry_timeout: 0
  server_failure_limit: 0
  eject: fail_fast
  mget_errors: whole
  hash_bytes: unsigned
  connect_timeout: 250
  probe: false
  failure_replies: OOM, BUSY,LOADING
`, pool(func(p *Pool) {
			p.ClientConnections, p.Hash, p.HashTag, p.Distribution = 7, ring.Murmur, "{}", ring.Modula
			p.Timeout, p.Backlog, p.TCPKeepAlive, p.Preconnect = 400*time.Millisecond, 1024, true, true
			p.Redis, p.RedisAuth, p.RedisDB, p.ServerConnections = true, "s3cret # no comment", 3, 4
			p.AutoEjectHosts, p.ServerRetryTimeout, p.ServerFailureLimit = true, 0, 0
			p.Extras = Extras{FailFast, Whole, true, 250 * time.Millisecond, false, []Reply{"OOM", "BUSY", "LOADING"}}
		})},
		{"servers", `alpha:
  listen: 127.0.0.1:7000
  servers:
    - redis-a:6379:1 a
    - redis-b:6379:20  b
    - memcache:11211:1
    - /run/redis.sock:3
    - /run/redis b.sock:4 sock
    - ::1:6379:1
    - "[::1]:6380:1"
`, pool(func(p *Pool) {
			p.Servers = []Server{
				{tcp("redis-a:6379"), 1, "a"},
				{tcp("redis-b:6379"), 20, "b"},
				{tcp("memcache:11211"), 1, "memcache"},
				{Addr{"unix", "/run/redis.sock"}, 3, "/run/redis.sock:"},
				{Addr{"unix", "/run/redis b.sock"}, 4, "sock"},
				{tcp("[::1]:6379"), 1, "::1:6379"},
				{tcp("[::1]:6380"), 1, "[::1]:6380"},
			}
		})},
		{"a socket", strings.Replace(short, "127.0.0.1:7000", "/run/alpha.sock 0660", 1), pool(func(p *Pool) {
			p.Listen = Listen{Addr{"unix", "/run/alpha.sock"}, 0o660}
		})},
		{"a socket without permissions", strings.Replace(short, "127.0.0.1:7000", "/run/alpha.sock", 1), pool(func(p *Pool) {
			p.Listen = Listen{Addr: Addr{"unix", "/run/alpha.sock"}}
		})},
		{"flow and document marks", "---\nalpha: {listen: '127.0.0.1:7000', servers: ['127.0.0.1:7001:1']}\n...\n", pool(nil)},
		{"two pools", short + "\nbeta:\n  listen: 127.0.0.1:7002\n  servers:\n    - 127.0.0.1:7001:1\n", append(pool(nil), pool(func(p *Pool) {
			p.Name, p.Listen = "beta", Listen{Addr: tcp("127.0.0.1:7002")}
		})...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse("pools.yml", []byte(tt.text), Default().Extras)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("pools (-want +got):\n%s", diff)
			}
			for _, p := range got {
				if _, err := p.Ring(); err != nil {
					t.Errorf("pool %s: %v", p.Name, err)
				}
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	alpha := func(lines string) string {
		return "alpha:\n  listen: 127.0.0.1:7000\n" + lines + "\n  servers:\n    - 127.0.0.1:7001:1\n"
	}
	servers := func(lines string) string { return "alpha:\n  listen: 127.0.0.1:7000\n  servers:\n" + lines }
	for _, tt := range []struct{ name, text, want string }{
		{"an empty file", "", `1: an empty file: no pools`},
		{"comments alone", "# nothing\n", `1: an empty file: no pools`},
		{"a text", "alpha\n", `1: no pools: want a name and its settings, as twemproxy has them`},
		{"a list", "- alpha\n", `1: no pools: want a name and its settings, as twemproxy has them`},
		{"no settings", "alpha:\nbeta: 1\n", "1: pool \"alpha\": no settings: want listen, servers and others, indented\n" +
			`2: pool "beta": no settings: want listen, servers and others, indented`},
		{"a second document", book + "---\nbeta: 1\n", `14: a second document: a pool file has one`},
		{"one pool twice", alpha("") + strings.Replace(alpha(""), "7000", "7002", 1), `6: pool "alpha": a pool of this name is in line 1 already`},
		{"one address twice", alpha("") + strings.Replace(alpha(""), "alpha", "beta", 1), `6: pool "beta": it listens at 127.0.0.1:7000, as pool "alpha" does`},
		{"one key twice", alpha("  redis: true\n  redis: true"), `4: pool "alpha": redis is set in line 3 already`},
		{"nothing that is needed", "alpha:\n  redis: true\n", "1: pool \"alpha\": listen is missing\n1: pool \"alpha\": servers is missing"},
		{"an unknown key", alpha("  tiemout: 400"), `3: pool "alpha": unknown key "tiemout"`},
		{"a key misspelt", alpha("  timeouts: 400"), `3: pool "alpha": unknown key "timeouts", did you mean timeout?`},
		{"a key with a letter too few", alpha("  preconect: true"), `3: pool "alpha": unknown key "preconect", did you mean preconnect?`},
		{"a key with a wrong letter", alpha("  hash_tab: \"{}\""), `3: pool "alpha": unknown key "hash_tab", did you mean hash_tag?`},
		{"not a number", alpha("  timeout: 400ms"), `3: pool "alpha": timeout "400ms": not a whole number of 0 or more, of milliseconds`},
		{"negative", alpha("  backlog: -1"), `3: pool "alpha": backlog "-1": not a whole number of 0 or more`},
		{"too large", alpha("  backlog: 2147483648"), `3: pool "alpha": backlog "2147483648": more than 2147483647`},
		{"another word for true", alpha("  redis: yes"), `3: pool "alpha": redis "yes": not true or false`},
		{"hash", alpha("  hash: sha1"), `3: pool "alpha": hash "sha1": not one of one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins`},
		{"distribution", alpha("  distribution: rendezvous"), `3: pool "alpha": distribution "rendezvous": not one of ketama, modula, random`},
		{"a tag without quotes", alpha("  hash_tag: {}"), `3: alpha's hash_tag: not a text or a number`},
		{"an empty tag", alpha("  hash_tag:"), `3: alpha's hash_tag: empty`},
		{"a long tag", alpha("  hash_tag: '{}}'"), `3: pool "alpha": hash_tag "{}}": not two characters, such as {}`},
		{"server_connections", alpha("  server_connections: 0"), `3: pool "alpha": server_connections "0": less than 1`},
		{"hash_bytes", alpha("  hash_bytes: arm"), `3: pool "alpha": hash_bytes "arm": not one of signed, unsigned`},
		{"eject", alpha("  eject: never"), `3: pool "alpha": eject "never": not one of rehash, fail_fast`},
		{"a password for memcached", alpha("  redis_auth: s3cret"), `3: pool "alpha": redis_auth is for pools with redis: true`},
		{"a listed password", alpha("  redis_auth: [s3cret]"), `3: alpha's redis_auth: not a text or a number`},
		{"an anchor", alpha("  timeout: &t 400"), `3: alpha's timeout: anchors, aliases and tags of YAML have no place in a pool file`},
		{"a tag of YAML", alpha("  redis_auth: !!binary czNjcmV0"), `3: alpha's redis_auth: anchors, aliases and tags of YAML have no place in a pool file`},
		{"listen", strings.Replace(alpha(""), "127.0.0.1:7000", "localhost", 1), `2: pool "alpha": listen "localhost": not an address like :6379, or a socket like /run/redis.sock 0660`},
		{"listen at any port", strings.Replace(alpha(""), "7000", "0", 1), `2: pool "alpha": listen "127.0.0.1:0": port "0": not between 1 and 65535`},
		{"listen at no port", strings.Replace(alpha(""), "7000", "redis", 1), `2: pool "alpha": listen "127.0.0.1:redis": port "redis": not between 1 and 65535`},
		{"mode", strings.Replace(alpha(""), "127.0.0.1:7000", "/run/a.sock 0999", 1), `2: pool "alpha": listen "/run/a.sock 0999": mode "0999": not permissions like 0660`},
		{"no servers", servers(""), `3: pool "alpha": no servers: want lines like - redis-a:6379:1 a`},
		{"one server, not a list", "alpha:\n  listen: 127.0.0.1:7000\n  servers: a:1:1\n", `3: pool "alpha": no servers: want lines like - redis-a:6379:1 a`},
		{"bad servers, all of them", servers("    - a:6379\n    - b:6379:0\n    - c:6379:x\n    - d:0:1\n    - :6379:1\n    - e:6379:1\n    - /run/f.sock\n    - g:6379:99999999999\n    -\n"), strings.Join([]string{
			`4: pool "alpha": server "a:6379": not like host:port:weight [name] or /path:weight [name]`,
			`5: pool "alpha": server "b:6379:0": weight 0: a server without weight gets no keys; leave it out`,
			`6: pool "alpha": server "c:6379:x": weight "x": not a whole number of 0 or more`,
			`7: pool "alpha": server "d:0:1": port "0": not between 1 and 65535`,
			`8: pool "alpha": server ":6379:1": not like host:port:weight [name] or /path:weight [name]`,
			`10: pool "alpha": server "/run/f.sock": not like host:port:weight [name] or /path:weight [name]`,
			`11: pool "alpha": server "g:6379:99999999999": weight "99999999999": more than 2147483647`,
			`12: a server: empty`,
		}, "\n")},
		{"one name twice", servers("    - a:6379:1\n    - a:6379:2\n    - b:6379:1 x\n    - c:6379:1 x\n"), strings.Join([]string{
			`5: pool "alpha": server "a:6379:2": the server in line 4 has the name "a:6379" already`,
			`7: pool "alpha": server "c:6379:1 x": the server in line 6 has the name "x" already`,
		}, "\n")},
		{"too heavy", servers("    - a:6379:2147483647\n    - b:6379:2147483647\n    - c:6379:2\n"), `6: pool "alpha": the weights add up to more than 4294967295`},
		{"several pools, in the order of the file", "beta:\n  servers:\n    - a:1:0\nalpha:\n  hash: x\n", strings.Join([]string{
			`1: pool "beta": listen is missing`,
			`3: pool "beta": server "a:1:0": weight 0: a server without weight gets no keys; leave it out`,
			`4: pool "alpha": listen is missing`,
			`4: pool "alpha": servers is missing`,
			`5: pool "alpha": hash "x": not one of one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins`,
		}, "\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "pools.yml:" + strings.ReplaceAll(tt.want, "\n", "\npools.yml:")
			pools, err := Parse("pools.yml", []byte(tt.text), Default().Extras)
			if err == nil || err.Error() != want {
				t.Errorf("error\n%v\nwant\n%s", err, want)
			}
			if pools != nil {
				t.Errorf("pools in spite of an error: %v", pools)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Error("the error shows the password")
			}
		})
	}
}

func TestSyntaxErrors(t *testing.T) {
	for text, want := range map[string]string{
		"alpha:\n\tlisten: a\n":       "2: not YAML: found character that cannot start any token (while scanning for the next token from line 2 on)",
		"alpha:\n  listen: a\n bad\n": "3: not YAML: did not find expected key (while parsing a block mapping from line 1 on)",
		"alpha:\n  b: 'x\n":           "3: not YAML: found unexpected end of stream (while scanning a quoted scalar from line 2 on)",
		book + "%\n":                  "14: not YAML: could not find expected directive name (while scanning a directive from line 14 on)",
		"a:\n  redis_auth: *s3cret\n": "2: not YAML: an alias of nothing; a text that begins with * needs quotes",
		"\xff\xfe\x00":                "1: not YAML: incomplete UTF-16 character",
	} {
		if _, err := Parse("pools.yml", []byte(text), Default().Extras); err == nil || err.Error() != "pools.yml:"+want {
			t.Errorf("%q\n%v\nwant\npools.yml:%s", text, err, want)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	good, large := filepath.Join(dir, "good.yml"), filepath.Join(dir, "large.yml")
	write(t, good, book)
	write(t, large, strings.Repeat("#", maxFile+1))
	pools, err := ReadFile(good)
	if err != nil || len(pools) != 1 || pools[0].Eject != Rehash {
		t.Errorf("%v, %v", pools, err)
	}
	pools, err = Read(good, Extras{Eject: FailFast, UnsignedBytes: true})
	if err != nil || pools[0].Eject != FailFast || !pools[0].UnsignedBytes {
		t.Errorf("with other defaults: %v, %v", pools, err)
	}
	for path, want := range map[string]string{
		large:                      large + ": larger than 1048576 bytes",
		filepath.Join(dir, "none"): "open " + filepath.Join(dir, "none") + ": no such file or directory",
		dir:                        "read " + dir + ": is a directory",
	} {
		if _, err := ReadFile(path); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(book)
	f.Add("alpha:\n  listen: /run/a.sock 0660\n  hash_tag: \"{}\"\n  servers:\n    - /run/b.sock:1 b\n    - ::1:11211:2\n")
	f.Add("a: &a\n  servers: [*a, !!binary x]\n---\n")
	f.Add("? [a]\n: {b: c}\n")
	f.Fuzz(func(t *testing.T, text string) {
		pools, err := Parse("pools.yml", []byte(text), Default().Extras)
		if err != nil {
			if pools != nil {
				t.Errorf("pools in spite of %v", err)
			}
			return
		}
		if len(pools) == 0 {
			t.Error("neither pools nor an error")
		}
		for _, p := range pools {
			// A file that is read makes rings, and what it says can be written and read again.
			if _, err := p.Ring(); err != nil {
				t.Errorf("pool %q: %v", p.Name, err)
			}
			var again Listen
			if err := again.UnmarshalText([]byte(p.Listen.String())); err != nil || again != p.Listen {
				t.Errorf("listen %q reads again as %q: %v", p.Listen, again, err)
			}
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
