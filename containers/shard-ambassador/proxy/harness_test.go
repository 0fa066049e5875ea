package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/resp"
)

// rig is an ambassador in front of fakes.
type rig struct {
	t      testing.TB
	srv    *Server
	shards []*fake
	pool   pool.Pool
	addr   string
	log    *lines
}

// lines is a log that tests look at.
type lines struct{ w chan string }

func (l *lines) Write(p []byte) (int, error) {
	select {
	case l.w <- string(p):
	default:
	}
	return len(p), nil
}

// newRig starts n shards and an ambassador.
func newRig(t testing.TB, n int, change func(*pool.Pool, *Server)) *rig {
	t.Helper()
	r := &rig{t: t, log: &lines{make(chan string, 1000)}}
	r.pool = pool.Default()
	r.pool.Name, r.pool.Redis = "test", true
	r.pool.Listen = pool.Listen{Addr: pool.Addr{Network: "tcp", Address: "127.0.0.1:0"}}
	for i := range n {
		f := newFake(t, string(rune('a'+i)))
		r.shards = append(r.shards, f)
		r.pool.Servers = append(r.pool.Servers, server(f))
	}
	r.srv = &Server{Log: slog.New(slog.NewJSONHandler(r.log, nil))}
	if change != nil {
		change(&r.pool, r.srv)
	}
	if err := r.srv.Start([]pool.Pool{r.pool}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.srv.Shutdown(ctx)
	})
	r.addr = r.srv.Snapshot()[0].Addr
	return r
}

func server(f *fake) pool.Server {
	return pool.Server{Addr: pool.Addr{Network: "tcp", Address: f.addr}, Weight: 1, Name: f.name}
}

// owner is the shard of a key.
func (r *rig) owner(key string) *fake {
	ring, err := r.pool.Ring()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.shards[ring.Pick([]byte(key))]
}

// keyOf is a key of a shard; different numbers are different keys.
func (r *rig) keyOf(shard, n int) string {
	for i := 0; ; i++ {
		key := fmt.Sprintf("echo:%d:%d", n, i)
		if r.owner(key) == r.shards[shard] {
			return key
		}
	}
}

// conn is a client.
type conn struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (r *rig) dial() *conn {
	r.t.Helper()
	return connect(r.t, "tcp", r.addr)
}

func connect(t testing.TB, network, addr string) *conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &conn{t, c, bufio.NewReader(c)}
}

// send writes requests, each a line of words without blanks in them.
func (c *conn) send(lines ...string) {
	c.t.Helper()
	var b []byte
	for _, line := range lines {
		b = resp.AppendCommand(b, strings.Fields(line)...)
	}
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// reply reads one reply and is it in short: "OK", "(nil)", "[a b]", "ERR …".
func (c *conn) reply() string {
	c.t.Helper()
	text, err := readReply(c.in)
	if err != nil {
		c.t.Fatalf("no reply: %v", err)
	}
	return text
}

func (c *conn) ask(line string) string {
	c.t.Helper()
	c.send(line)
	return c.reply()
}

// closed waits for the end.
func (c *conn) closed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		c.t.Fatalf("want the end, got %q, %v", rest, err)
	}
}

func readReply(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, text := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+', '-':
		return text, nil
	case ':':
		return ":" + text, nil
	case '_':
		return "(nil)", nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Errorf("not a reply: %q", line)
	}
	switch {
	case n < 0:
		return "(nil)", nil
	case kind == '$':
		var b bytes.Buffer
		if _, err := io.CopyN(&b, in, int64(n)+2); err != nil {
			return "", err
		}
		return string(b.Bytes()[:n]), nil
	case kind == '%':
		n *= 2
	case kind != '*':
		return "", fmt.Errorf("not a reply: %q", line)
	}
	items := make([]string, n)
	for i := range items {
		if items[i], err = readReply(in); err != nil {
			return "", err
		}
	}
	open := "["
	if kind == '%' {
		open = "%["
	}
	return open + strings.Join(items, " ") + "]", nil
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (r *rig) shard(i int) ShardSnapshot { return r.srv.Snapshot()[0].Shards[i] }
