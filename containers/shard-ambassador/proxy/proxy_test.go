package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/resp"
)

func TestCommands(t *testing.T) {
	r := newRig(t, 3, nil)
	c := r.dial()
	a, b := r.keyOf(0, 1), r.keyOf(1, 2)
	long := strings.Repeat("x", 200)
	for _, tt := range []struct{ ask, want string }{
		{"PING", "PONG"},
		{"ping hello", "hello"},
		{"PING a b", "ERR wrong number of arguments for 'ping' command"},
		{"ECHO x", "x"},
		{"SELECT 0", "OK"},
		{"SELECT 1", "ERR SELECT is not supported over shards, except of 0: the pool's own database"},
		{"AUTH x", "ERR Client sent AUTH, but no password is set"},
		{"GET missing", "(nil)"},
		{"SET k v", "OK"},
		{"get k", "v"},
		{"GET", "ERR wrong number of arguments for 'get' command"},
		{"GET a b", "ERR wrong number of arguments for 'get' command"},
		{"NOSUCH x", "ERR unknown command 'NOSUCH'"},
		{long + " x", "ERR unknown command '" + long[:128] + "'"},
		{"MULTI", "ERR 'multi' is not supported over shards: there are no transactions over shards"},
		{"BLPOP a 0", "ERR 'blpop' is not supported over shards: it blocks, and other clients share the connection"},
		{"KEYS *", "ERR 'keys' is not supported over shards: it concerns all keys, which are spread over shards"},
		{"XREAD BLOCK 0 STREAMS s 0", "ERR BLOCK is not supported: it blocks, and other clients share the connection"},
		{"RENAME " + a + " " + b, "CROSSSLOT Keys in request don't hash to the same shard"},
		{"EVAL return 0", "ERR a request without keys belongs to no shard"},
		{"EVAL return 2 " + a + " " + b, "CROSSSLOT Keys in request don't hash to the same shard"},
		{"EVAL return 7 " + a, "ERR Number of keys can't be greater than number of args"},
		{"EVAL return x " + a, "ERR value is not an integer or out of range"},
		{"SORT " + a + " BY w_*", "ERR patterns of keys are not supported: they may be on other shards"},
		{"SORT " + a + " STORE " + b, "CROSSSLOT Keys in request don't hash to the same shard"},
		{"LRANGE l 0 1", "[[l :1] []]"},
		{"CLIENT SETNAME me", "OK"},
		{"CLIENT GETNAME", "me"},
		{"CLIENT SETINFO LIB-NAME x", "OK"},
		{"CLIENT NO-EVICT on", "OK"},
		{"CLIENT KILL x", "ERR CLIENT KILL is not supported over shards, or its arguments are wrong"},
		{"COMMAND DOCS", "[]"},
		{"COMMAND INFO nosuch multi", "[(nil) (nil)]"},
		{"COMMAND INFO get", "[[get :2 [] :1 :1 :1]]"},
		{"HELLO 4", "NOPROTO unsupported protocol version"},
		{"HELLO 3 FOO", "ERR Syntax error in HELLO option 'FOO'"},
		{"HGETALL k", "[shard " + r.owner("k").name + "]"},
		{"RESET", "RESET"},
		{"CLIENT GETNAME", "(nil)"},
	} {
		if got := c.ask(tt.ask); got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.ask, got, tt.want)
		}
	}
	if got := c.ask("COMMAND"); !strings.Contains(got, "[get :2 [] :1 :1 :1]") || strings.Contains(got, "[multi ") {
		t.Errorf("COMMAND: %.200s", got)
	}
	if got := c.ask("QUIT"); got != "OK" {
		t.Errorf("QUIT: %q", got)
	}
	c.closed()
}

func TestHelloChangesTheProtocol(t *testing.T) {
	r := newRig(t, 2, nil)
	c := r.dial()
	// In one pipeline: what comes before HELLO is answered in the old protocol, what comes after in the new.
	c.send("HGETALL k", "CLIENT GETNAME", "HELLO 3 SETNAME me", "HGETALL k", "GET missing", "CLIENT GETNAME", "HELLO 2", "HGETALL k")
	name := r.owner("k").name
	for i, want := range []string{"[shard " + name + "]", "(nil)", "%[server redis", "%[shard " + name + "]", "(nil)", "me", "[server redis", "[shard " + name + "]"} {
		if got := c.reply(); !strings.HasPrefix(got, want) {
			t.Errorf("reply %d is %q, want %q", i, got, want)
		}
	}
}

func TestAuth(t *testing.T) {
	r := newRig(t, 2, func(p *pool.Pool, _ *Server) { p.RedisAuth, p.RedisDB = "secret", 3 })
	for _, f := range r.shards {
		f.login("secret")
	}
	c := r.dial()
	for _, tt := range []struct{ ask, want string }{
		{"GET echo:k", "NOAUTH Authentication required."},
		{"PING", "NOAUTH Authentication required."},
		{"AUTH wrong", "ERR invalid password"},
		{"AUTH other secret", "ERR invalid password"},
		{"HELLO 3", "NOAUTH HELLO must be"},
		{"HELLO 3 AUTH default wrong", "WRONGPASS"},
		{"GET echo:k", "NOAUTH Authentication required."},
		{"AUTH secret", "OK"},
		{"GET echo:k", "echo:k"},
		{"AUTH wrong", "ERR invalid password"},
		{"GET echo:k", "NOAUTH Authentication required."},
		{"HELLO 3 AUTH default secret", "%[server redis"},
		{"GET echo:k", "echo:k"},
	} {
		if got := c.ask(tt.ask); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.ask, got, tt.want)
		}
	}
}

// A shard that refuses the login gets no request, and clients hear why.
func TestShardRefusesLogin(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, _ *Server) { p.RedisAuth = "secret" })
	r.shards[0].login("another")
	c := r.dial()
	if got := c.ask("AUTH secret"); got != "OK" {
		t.Fatal(got)
	}
	if got := c.ask("GET echo:k"); !strings.Contains(got, "login: WRONGPASS") {
		t.Errorf("got %q", got)
	}
}

func TestInline(t *testing.T) {
	r := newRig(t, 3, nil)
	c := r.dial()
	fmt.Fprintf(c, "\r\n\nPING\nSET \"a key\" 'it\\'s'\r\nGET \"a\\x20key\"\r\nMGET \"a key\" echo:1 echo:2\r\n*0\r\n*-1\r\nPING x\r\n")
	for _, want := range []string{"PONG", "OK", "it's", "[it's echo:1 echo:2]", "x"} {
		if got := c.reply(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// After an error of the protocol nothing more can be read: the client hears of
// it, after the replies to all that came before, and then of the end.
func TestProtocolErrors(t *testing.T) {
	r := newRig(t, 3, nil)
	for _, tt := range []struct{ bytes, want string }{
		{"*x\r\n", "invalid multibulk length"},
		{"*+1\r\n$4\r\nPING\r\n", "invalid multibulk length"},
		{"*01\r\n$4\r\nPING\r\n", "invalid multibulk length"},
		{"*2147483648\r\n", "invalid multibulk length"},
		{"*99999999999999999999\r\n", "invalid multibulk length"},
		{"*1 \r\n", "invalid multibulk length"},
		{"*1\n$4\r\nPING\r\n", "invalid multibulk length"},
		{"*1\r\nPING\r\n", `expected '$', got 'P'`},
		{"*1\r\n$-1\r\n", "invalid bulk length"},
		{"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"},
		{"*1\r\n$04\r\nPING\r\n", "invalid bulk length"},
		{"*1\r\n$536870913\r\n", "invalid bulk length"},
		{"PING \"x\r\n", "unbalanced quotes in request"},
		{strings.Repeat("x", resp.MaxInline+2), "too big inline request"},
	} {
		c := r.dial()
		c.send("GET echo:before", "MGET echo:1 echo:2 echo:3")
		fmt.Fprint(c, tt.bytes)
		for _, want := range []string{"echo:before", "[echo:1 echo:2 echo:3]", "ERR Protocol error: " + tt.want} {
			if got := c.reply(); got != want {
				t.Errorf("%.40q: got %q, want %q", tt.bytes, got, want)
			}
		}
		c.closed()
	}
}

func TestSplitCommands(t *testing.T) {
	r := newRig(t, 3, nil)
	c := r.dial()
	var keys, sets, values []string
	for i := range 30 {
		key := r.keyOf(i%3, i)[5:] // without "echo:", so on another shard, maybe
		keys = append(keys, key)
		sets = append(sets, key, fmt.Sprint("value-", i))
		values = append(values, fmt.Sprint("value-", i))
	}
	all := strings.Join(keys, " ")
	for _, tt := range []struct{ ask, want string }{
		{"MSET " + strings.Join(sets, " "), "OK"},
		{"MGET " + all, "[" + strings.Join(values, " ") + "]"},
		{"MGET " + all + " nothing " + keys[0], "[" + strings.Join(values, " ") + " (nil) value-0]"},
		{"EXISTS " + all + " nothing " + keys[0], ":31"},
		{"TOUCH " + all, ":30"},
		{"DEL " + strings.Join(keys[:10], " ") + " nothing", ":10"},
		{"UNLINK " + all, ":20"},
		{"MGET " + strings.Join(keys[:3], " "), "[(nil) (nil) (nil)]"},
		{"MSET a", "ERR wrong number of arguments for 'mset' command"},
		{"MSET a 1 b", "ERR wrong number of arguments for 'mset' command"},
		{"MGET", "ERR wrong number of arguments for 'mget' command"},
	} {
		if got := c.ask(tt.ask); got != tt.want {
			t.Errorf("%s\n got %q\nwant %q", tt.ask, got, tt.want)
		}
	}
	used := 0
	for _, f := range r.shards {
		if f.requests.Load() > 0 {
			used++
		}
	}
	if used != 3 {
		t.Errorf("%d shards had requests, want 3", used)
	}
}

// Replies come in the order of the requests, however these are spread, cut and
// answered.
func TestPipeline(t *testing.T) {
	r := newRig(t, 3, nil)
	random := rand.New(rand.NewPCG(1, 2))
	c := r.dial()
	var sent []byte
	var want []string
	for i := range 5000 { // more than maxPipeline
		key := func() string { return fmt.Sprint("echo:", i, ":", random.IntN(1000)) }
		switch random.IntN(5) {
		case 0:
			k := []string{key(), key(), key()}
			sent = resp.AppendCommand(sent, "MGET", k[0], k[1], k[2])
			want = append(want, "["+strings.Join(k, " ")+"]")
		case 1:
			sent = resp.AppendCommand(sent, "PING", fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
		case 2:
			sent = resp.AppendCommand(sent, "KEYS")
			want = append(want, "ERR 'keys' is not supported over shards: it concerns all keys, which are spread over shards")
		default:
			k := key()
			sent = resp.AppendCommand(sent, "GET", k)
			want = append(want, k)
		}
	}
	go func() {
		for len(sent) > 0 {
			n := min(1+random.IntN(3000), len(sent))
			if _, err := c.Write(sent[:n]); err != nil {
				return
			}
			sent = sent[n:]
		}
	}()
	for i, w := range want {
		if got := c.reply(); got != w {
			t.Fatalf("reply %d is %q, want %q", i, got, w)
		}
	}
}

// What a client has sent before its end is answered before ours.
func TestHalfClose(t *testing.T) {
	r := newRig(t, 3, nil)
	c := connect(t, "tcp", r.addr)
	c.send("GET echo:1", "GET echo:2", "MGET echo:3 echo:4")
	type halfCloser interface{ CloseWrite() error }
	c.Conn.(halfCloser).CloseWrite()
	for _, want := range []string{"echo:1", "echo:2", "[echo:3 echo:4]"} {
		if got := c.reply(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	c.closed()
}

func TestClientConnections(t *testing.T) {
	r := newRig(t, 1, func(p *pool.Pool, _ *Server) { p.ClientConnections = 2 })
	a, b := r.dial(), r.dial()
	a.ask("PING")
	b.ask("PING")
	c := r.dial()
	if got := c.reply(); got != "ERR max number of clients reached" {
		t.Errorf("got %q", got)
	}
	c.closed()
	a.Close()
	eventually(t, "room for another client", func() bool {
		c := r.dial()
		defer c.Close()
		c.send("PING")
		got, err := readReply(c.in)
		return err == nil && got == "PONG"
	})
}

func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	r := newRig(t, 1, func(p *pool.Pool, _ *Server) {
		p.Listen = pool.Listen{Addr: pool.Addr{Network: "unix", Address: path}, Mode: 0o600}
	})
	c := connect(t, "unix", path)
	if got := c.ask("GET echo:1"); got != "echo:1" {
		t.Errorf("got %q, from %s", got, r.addr)
	}
}

func TestThreads(t *testing.T) {
	r := newRig(t, 3, func(_ *pool.Pool, s *Server) { s.Threads = 3 })
	for i := range 9 {
		c := r.dial()
		key := fmt.Sprint("echo:", i)
		if got := c.ask("MGET " + key + " echo:a echo:b echo:c"); got != "["+key+" echo:a echo:b echo:c]" {
			t.Errorf("got %q", got)
		}
	}
	if got := r.srv.Snapshot()[0]; got.Accepted != 9 || got.Requests != 9 {
		t.Errorf("%d clients and %d requests counted, want 9 and 9", got.Accepted, got.Requests)
	}
}
