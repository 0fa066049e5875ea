package shard

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"
)

// wire is a client in a few lines: any bytes, pipelines, nothing asked twice. A stock client says HELLO first, and twemproxy ends
// the connection on that.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func open(m *check.M) *wire { return check.Got(dial(m.Context(), m.Address(pod, redisPort))) }

func dial(ctx context.Context, addr string) (*wire, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(2 * patience))
	return &wire{conn, bufio.NewReader(conn)}, nil
}

func (w *wire) close() { w.conn.Close() }

// request is one in RESP.
func request(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// reply is an answer: its first byte, what it says, and its elements. A null is '_', in RESP2 too.
type reply struct {
	kind byte
	text string
	list []reply
}

// is compares a reply with a value; "" is one, and no null.
func (r reply) is(value string) bool {
	return (r.kind == '$' || r.kind == '+' || r.kind == ':') && r.text == value
}

func (r reply) String() string {
	if len(r.list) > 0 {
		return fmt.Sprintf("%c%.100q", r.kind, fmt.Sprint(r.list))
	}
	return fmt.Sprintf("%c%.100q", r.kind, r.text)
}

// ask sends one request and is its reply.
func (w *wire) ask(args ...string) (reply, error) {
	all, err := w.all([][]string{args})
	if err != nil {
		return reply{}, err
	}
	return all[0], nil
}

// all is a pipeline.
func (w *wire) all(requests [][]string) ([]reply, error) {
	sent := make(chan error, 1)
	go func() {
		out := bufio.NewWriter(w.conn)
		for _, args := range requests {
			out.WriteString(request(args...))
		}
		sent <- out.Flush()
	}()
	replies := make([]reply, len(requests))
	for i := range replies {
		var err error
		if replies[i], err = w.read(); err != nil {
			return nil, fmt.Errorf("reply %d of %d, to %.40q: %w", i+1, len(requests), requests[i], err)
		}
	}
	return replies, <-sent
}

func (w *wire) read() (r reply, err error) {
	line, err := w.in.ReadString('\n')
	if err != nil {
		return r, err
	}
	r.kind, r.text = line[0], strings.TrimSuffix(line[1:], "\r\n")
	if !strings.ContainsRune("$*%~", rune(r.kind)) {
		return r, nil
	}
	n, err := strconv.Atoi(r.text)
	switch {
	case err != nil:
		return r, fmt.Errorf("not a reply: %.40q", line)
	case n < 0:
		return reply{kind: '_'}, nil
	case r.kind == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(w.in, b)
		r.text = string(b[:n])
		return r, err
	case r.kind == '%':
		n *= 2
	}
	for range n {
		e, err := w.read()
		if err != nil {
			return r, err
		}
		r.list = append(r.list, e)
	}
	return r, nil
}

// each is the same command for every key, with what comes after it.
func each(name string, keys []string, after func(i int) []string) (requests [][]string) {
	for i, key := range keys {
		args := []string{name, key}
		if after != nil {
			args = append(args, after(i)...)
		}
		requests = append(requests, args)
	}
	return requests
}

// keep is how long keys of a claim stay, in seconds: nothing of a person's is removed, and nothing of a claim's is left for long.
const keep = "600"

// fill writes keys with their values, in one pipeline. Who cannot write cannot measure.
func (w *wire) fill(keys, values []string) {
	for i, r := range check.Got(w.all(each("SET", keys, func(i int) []string { return []string{values[i], "EX", keep} }))) {
		if r.text != "OK" {
			check.Must(fmt.Errorf("SET %.40q: %v", keys[i], r))
		}
	}
}

// has asks a server for keys, past the ambassador: it is '1' for each that has the value, '0' for none, '2' for another. Keys and
// values are given in hexadecimal, since a command's arguments can have no zero byte.
const has = `local function raw(h) return (h:gsub('..', function(x) return string.char(tonumber(x, 16)) end)) end
local found = {}
for i = 1, #ARGV, 2 do
  local v = redis.pcall('GET', raw(ARGV[i]))
  found[#found + 1] = not v and '0' or v == raw(ARGV[i + 1]) and '1' or '2'
end
return table.concat(found)`

// whereabouts are the servers that have each key with that value, asked past the ambassador.
func whereabouts(m *check.M, servers, keys, values []string) [][]string {
	found := make([]string, len(servers))
	m.Each(len(servers), len(servers), func(m *check.M, s int) {
		const most = 1 << 20 // bytes of a command's arguments, half of what a system takes
		ask, size := []string{"redis-cli", "-e", "eval", has, "0"}, 0
		args := slices.Clip(ask)
		for i := range keys {
			args = append(args, fmt.Sprintf("%x", keys[i]), fmt.Sprintf("%x", values[i]))
			size += 2*len(keys[i]) + 2*len(values[i]) + 16
			if size > most || i == len(keys)-1 {
				found[s] += m.Exec(servers[s], args...)
				args, size = slices.Clip(ask), 0
			}
		}
		m.Need(len(found[s]) == len(keys), "%s says %.100q of %d keys", servers[s], found[s], len(keys))
	})
	at := make([][]string, len(keys))
	for s, server := range servers {
		for i := range keys {
			if found[s][i] == '1' {
				at[i] = append(at[i], server)
			}
		}
	}
	return at
}

// owners are those servers, for keys that must have one each.
func owners(m *check.M, keys, values []string) []string {
	list := make([]string, len(keys))
	for i, at := range whereabouts(m, shards, keys, values) {
		m.Need(len(at) == 1, "%q is on %v", keys[i], at)
		list[i] = at[0]
	}
	return list
}

// fresh is a name that nothing has had before, also not in an earlier run on the same servers with the same seed.
func fresh(m *check.M) string { return fmt.Sprintf("%s-%x", m.Fresh(), time.Now().UnixNano()) }

// numbered are n keys with a prefix. Their ends are drawn at random, so that no hash has it too easy.
func numbered(m *check.M, prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s:%d-%08x", prefix, i, m.Rand().Uint32())
	}
	return keys
}

// valued are values that no other claim has written, one for each key.
func valued(m *check.M, keys []string) []string {
	token, values := fresh(m), make([]string, len(keys))
	for i := range keys {
		values[i] = fmt.Sprintf("%s=%d", token, i)
	}
	return values
}
