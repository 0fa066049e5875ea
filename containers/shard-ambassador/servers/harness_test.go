package servers_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/proxy"
	"distlab/containers/shard-ambassador/resp"
)

const patience = 20 * time.Second

// notCompared are commands whose answers differ from one time to the next, or from one server to the other, that are answered
// otherwise here on purpose, or that take the machine's memory. No server in this test has them.
const notCompared = `setrange setbit bitfield srandmember spop hrandfield zrandmember xadd xread xreadgroup sort sort_ro object
	xinfo xgroup memory eval evalsha eval_ro evalsha_ro fcall fcall_ro ttl pttl httl hpttl expiretime pexpiretime
	hexpiretime hpexpiretime psetex pexpire pexpireat hpexpire hpexpireat restore dump time lolwut command client`

// pair is a server, and another one of its kind behind an ambassador.
type pair struct {
	direct, behind string   // sockets
	admins         []*admin // of both servers
}

// once are the servers of this process: starting some for each input would take most of the time.
var once = sync.OnceValues(startPair)

func newPair(t testing.TB) *pair {
	t.Helper()
	p, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func startPair() (*pair, error) {
	binary, err := findServer()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "servers") // ends with the machine: a fuzz worker is killed, and cleans nothing up
	if err != nil {
		return nil, err
	}
	p := &pair{direct: dir + "/direct", behind: dir + "/ambassador"}
	for _, socket := range []string{p.direct, dir + "/behind"} {
		a, err := startServer(binary, dir, socket)
		if err != nil {
			return nil, err
		}
		p.admins = append(p.admins, a)
	}
	cfg := pool.Default()
	cfg.Name, cfg.Redis = "servers", true
	cfg.Listen = pool.Listen{Addr: pool.Addr{Network: "unix", Address: p.behind}}
	cfg.Servers = []pool.Server{{Addr: pool.Addr{Network: "unix", Address: dir + "/behind"}, Weight: 1, Name: "a"}}
	srv := &proxy.Server{Log: slog.New(slog.DiscardHandler)}
	return p, srv.Start([]pool.Pool{cfg})
}

// admin is a connection that may do everything.
type admin struct {
	net.Conn
	in *bufio.Reader
}

// startServer starts one, which ends with this process, and leaves the default user what is compared.
func startServer(binary, dir, socket string) (*admin, error) {
	cmd := exec.Command(binary, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir,
		"--logfile", socket+".log", "--maxmemory", "200mb")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	a := &admin{}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			a.Conn, a.in = conn, bufio.NewReader(conn)
			break
		}
		if time.Since(begun) > patience {
			log, _ := os.ReadFile(socket + ".log")
			return nil, fmt.Errorf("%s does not listen: %w\n%s", binary, err, log)
		}
	}
	for _, text := range []string{"ACL SETUSER test-admin on >test-password ~* &* +@all", "AUTH test-admin test-password"} {
		if got, err := a.ask(strings.Fields(text)...); err != nil || got != "+OK\r\n" {
			return nil, fmt.Errorf("%s: %q, %v", text, got, err)
		}
	}
	list, err := a.ask("COMMAND", "LIST")
	if err != nil {
		return nil, err
	}
	theirs := strings.Fields(list)
	rights := []string{"ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "-@all", "+select|0"}
	for _, c := range resp.Commands() {
		if c.Action != resp.Refused && c.Name != "select" && slices.Contains(theirs, c.Name) &&
			!slices.Contains(strings.Fields(notCompared), c.Name) {
			rights = append(rights, "+"+c.Name)
		}
	}
	if got, err := a.ask(rights...); err != nil || got != "+OK\r\n" {
		return nil, fmt.Errorf("ACL SETUSER default: %q, %v", got, err)
	}
	return a, nil
}

// ask is a request's raw reply.
func (a *admin) ask(args ...string) (string, error) {
	a.SetDeadline(time.Now().Add(patience))
	if _, err := a.Write(resp.AppendCommand(nil, args...)); err != nil {
		return "", err
	}
	var scan resp.Scanner
	var reply []byte
	for {
		if _, err := a.in.Peek(1); err != nil {
			return "", err
		}
		b, _ := a.in.Peek(a.in.Buffered())
		n, done, err := scan.Scan(b)
		if err != nil {
			return "", err
		}
		reply = append(reply, b[:n]...)
		a.in.Discard(n)
		if done {
			return string(reply), nil
		}
	}
}

// clean empties both servers.
func (p *pair) clean() error {
	for _, a := range p.admins {
		if got, err := a.ask("FLUSHALL"); err != nil || got != "+OK\r\n" {
			return fmt.Errorf("FLUSHALL: %q, %v", got, err)
		}
	}
	return nil
}

// say sends an input, in two pieces, and its end, and is what came back until the end.
func say(socket string, input []byte, cut int) ([]byte, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go func() {
		// Who ends the connection early is told by what it said before.
		conn.Write(input[:cut])
		conn.Write(input[cut:])
		conn.(*net.UnixConn).CloseWrite()
	}()
	out, err := io.ReadAll(conn)
	if err != nil && !os.IsTimeout(err) {
		err = nil // a reset, of what it did not read
	}
	return out, err
}

// replies cuts an output.
func replies(out []byte) (list []string, err error) {
	var scan resp.Scanner
	for begin := 0; len(out) > 0; begin = 0 {
		for done := false; !done; {
			n := 0
			if n, done, err = scan.Scan(out[begin:]); err != nil {
				return list, fmt.Errorf("%w: %q", err, out)
			}
			if begin += n; !done && begin == len(out) {
				return list, fmt.Errorf("half a reply: %q", out)
			}
		}
		list = append(list, string(out[:begin]))
		out = out[begin:]
	}
	return list, nil
}

// requests are the names of an input's requests, and the error that ends them, if any.
func requests(input []byte) (names []string, end error) {
	var p resp.Parser
	for b := bytes.Clone(input); ; {
		n, err := p.Parse(b)
		if n == 0 || err != nil {
			return names, err
		}
		if len(p.Args) > 0 {
			r := p.Request(b, n)
			name := strings.ToLower(string(r[p.Args[0].Data:p.Args[0].End]))
			names = append(names, name)
			if resp.IsForeign([]byte(name)) {
				return names, resp.Foreign("HTTP")
			}
		}
		b = b[n:]
	}
}

// short is an error without its text: that is the ambassador's own. But for errors of the protocol, which end the
// connection, whatever is wrong exactly.
func short(reply string) string {
	switch {
	case strings.HasPrefix(reply, "-ERR Protocol error"):
		return "-ERR Protocol error"
	case strings.HasPrefix(reply, "-"):
		return "-"
	}
	return reply
}
