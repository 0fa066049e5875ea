package servers_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	wrong   = "-ERR Protocol error"
	unknown = "-"
	pong    = "+PONG\r\n"
	ok      = "+OK\r\n"
)

// inputs are what a client may send, and what Redis makes of it. Errors are only "-", but for those of the protocol. It is one
// table for the server and for the ambassador before it; what only the ambassador does is marked.
var inputs = []struct {
	name   string
	in     string
	want   []string
	closed bool // the connection, by the server
	ours   bool // only the ambassador does: the server waits, or has an error and goes on
}{
	{name: "an array", in: "*1\r\n$4\r\nPING\r\n", want: []string{pong}},
	{name: "a line", in: "PING\r\n", want: []string{pong}},
	{name: "a line without carriage return", in: "PING\nECHO a\n", want: []string{pong, "$1\r\na\r\n"}},
	{name: "two carriage returns", in: "PING\r\r\n", want: []string{pong}},
	{name: "a pipeline of both", in: "SET k v\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nDEL k\r\n", want: []string{ok, "$1\r\nv\r\n", ":1\r\n"}},
	{name: "empty lines", in: "\r\n\n\r\nPING\r\n", want: []string{pong}},
	{name: "blank lines", in: "  \r\n\t\nPING\r\n", want: []string{pong}},
	{name: "empty arrays", in: "*0\r\n*-1\r\n*-9223372036854775808\r\nPING\r\n", want: []string{pong}},
	{name: "an empty name", in: "*1\r\n$0\r\n\r\n\"\"\r\nPING\r\n", want: []string{"-", "-", pong}},
	{
		name: "bytes of any value", in: "*3\r\n$3\r\nSET\r\n$2\r\n\x00\r\r\n$3\r\n\n\xff\x00\r\n*2\r\n$3\r\nGET\r\n$2\r\n\x00\r\r\n",
		want: []string{ok, "$3\r\n\n\xff\x00\r\n"},
	},
	{
		name: "quotes", in: `SET 'a\'b' "\x41\n\r\t\b\a\\\"\q"` + "\r\n\"GET\" a\"'b\"\r\n",
		want: []string{ok, "$9\r\nA\n\r\t\b\a\\\"q\r\n"},
	},
	{name: "quotes that do not end", in: "GET a'b\r\nPING\r\n", want: []string{wrong}, closed: true},
	{name: "a vertical tab is part of a word", in: "GET\vk\r\nPING\r\n", want: []string{"-", pong}},
	{name: "a vertical tab before a word", in: "\v\fPING\r\n", want: []string{pong}},
	{name: "a vertical tab after quotes", in: "ECHO \"a\"\v\r\n", want: []string{"$1\r\na\r\n"}},
	{name: "any byte after a carriage return", in: "*1\rX$4\rYPING\r\n", want: []string{pong}},
	{name: "any bytes after an argument", in: "*2\r\n$4\r\nECHOzz$1\r\na\n\r", want: []string{"$1\r\na\r\n"}},
	{name: "a length that is too short", in: "*1\r\n$3\r\nPING\r\nPING\r\n", want: []string{"-", pong}},
	{
		name: "the longest line", in: "ECHO " + strings.Repeat("a", 65536-6) + "\r\n",
		want: []string{fmt.Sprintf("$%d\r\n%s\r\n", 65536-6, strings.Repeat("a", 65536-6))},
	},
	{name: "a reply's line", in: "$4\r\nPING\r\n", want: []string{"-", pong}},
	{name: "wrong numbers of arguments", in: "GET\r\nGET a b\r\nPING a b\r\nECHO\r\nMSET a\r\n", want: []string{"-", "-", "-", "-", "-"}},
	{name: "upper and lower case", in: "pInG\r\nmGeT a\r\n", want: []string{pong, "*1\r\n$-1\r\n"}},
	{name: "QUIT", in: "PING\r\nQUIT\r\nPING\r\n", want: []string{pong, ok}, closed: true},
	{name: "RESP3", in: "HELLO 3\r\nGET none\r\nHELLO 2\r\nGET none\r\n", want: []string{"%", "_\r\n", "*", "$-1\r\n"}},
	{name: "RESET ends RESP3", in: "HELLO 3\r\nRESET\r\nGET none\r\n", want: []string{"%", "+RESET\r\n", "$-1\r\n"}},
	{
		name: "versions that are none", in: "HELLO abc\r\nHELLO 4\r\nHELLO 03\r\nHELLO 3 FOO\r\nHELLO 3 AUTH a\r\nGET none\r\n",
		want: []string{"-ERR Protocol version is not an integer", "-NOPROTO", "-ERR Protocol version is not an integer", "-", "-", "$-1\r\n"},
	},
	{
		name: "HELLO with a login, where there is no password", in: "HELLO 3 AUTH default x\r\nGET none\r\n",
		want: []string{"%", "_\r\n"},
	},
	{name: "HELLO with another user's login", in: "HELLO 3 AUTH nobody x\r\nGET none\r\n", want: []string{"-WRONGPASS", "$-1\r\n"}},
	{name: "AUTH with another user's", in: "AUTH nobody x\r\nPING\r\n", want: []string{"-WRONGPASS", pong}},
	{name: "a refused login behind a request", in: "PING\r\nAUTH nobody x\r\nPING\r\n", // newer ones forget to say so
		want: []string{pong, "-WRONGPASS", pong}, ours: true},
	{name: "AUTH where there is no password", in: "AUTH x\r\nAUTH default x\r\nAUTH a b c\r\nPING\r\n", want: []string{"-", ok, "-", pong}},
	{name: "SELECT", in: "SELECT 0\r\nSELECT x\r\nSELECT 00\r\n", want: []string{ok, "-", "-"}},
	{name: "more arguments than there ever will be", in: "*1048577\r\n$4\r\nPING\r\n", want: nil},
	{name: "the most", in: "*2147483647\r\n", want: nil},
	{name: "the longest argument", in: "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n", want: nil},
	{name: "half a line", in: "PING\r\n*2\r\n$3\r\nGET\r", want: []string{pong}},
	{name: "half a length", in: "*abc", want: nil},
	{name: "a login in one piece with what comes after", in: "PING\r\nSET a 1\r\nINCR a\r\n", want: []string{pong, ok, ":2\r\n"}},

	{name: "too many arguments", in: "PING\r\n*2147483648\r\n", want: []string{pong, wrong}, closed: true},
	{name: "no number", in: "*abc\r\nPING\r\n", want: []string{wrong}, closed: true},
	{name: "nothing", in: "*\r\n", want: []string{wrong}, closed: true},
	{name: "a sign", in: "*+1\r\n$4\r\nPING\r\n", want: []string{wrong}, closed: true},
	{name: "minus nothing", in: "*-0\r\n", want: []string{wrong}, closed: true},
	{name: "a zero before", in: "*01\r\n$4\r\nPING\r\n", want: []string{wrong}, closed: true},
	{name: "a blank after", in: "*1 \r\n$4\r\nPING\r\n", want: []string{wrong}, closed: true},
	{name: "a line feed alone", in: "*1\n$4\nPING\n*1\r\n", want: []string{wrong}, closed: true},
	{name: "more than 64 bits", in: "*-9223372036854775809\r\n", want: []string{wrong}, closed: true},
	{name: "a null for an argument", in: "*1\r\n$-1\r\n", want: []string{wrong}, closed: true},
	{name: "an argument that is too long", in: "*1\r\n$536870913\r\n", want: []string{wrong}, closed: true},
	{name: "an argument's length with a sign", in: "*1\r\n$+4\r\nPING\r\n", want: []string{wrong}, closed: true},
	{name: "an integer for an argument", in: "*1\r\n:4\r\n", want: []string{wrong}, closed: true},
	{name: "an array for an argument", in: "*1\r\n*1\r\n$4\r\nPING\r\n", want: []string{wrong}, closed: true},
	{name: "an empty line for an argument", in: "*1\r\n\r\n", want: []string{wrong}, closed: true},
	{name: "open quotes", in: "PING\r\nPING \"\r\nPING\r\n", want: []string{pong, wrong}, closed: true},
	{name: "quotes that go on", in: "PING 'a'b\r\n", want: []string{wrong}, closed: true},
	{name: "a line that is too long", in: strings.Repeat("a", 200_000), want: []string{wrong}, closed: true},
	{name: "a length that does not end", in: "*" + strings.Repeat("1", 200_000), want: []string{wrong}, closed: true},

	{name: "POST", in: "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET ssrf 1\r\n", want: nil, closed: true},
	{name: "a header of HTTP's", in: "Host: x\r\nSET ssrf 1\r\n", want: nil, closed: true},
	{name: "POST as an array", in: "*1\r\n$4\r\npOsT\r\nPING\r\n", want: nil, closed: true},
	{name: "a header as an array", in: "*2\r\n$5\r\nHOST:\r\n$1\r\nx\r\nPING\r\n", want: nil, closed: true},
	{name: "SET with a version of HTTP's", in: "SET / HTTP/1.1\r\n", want: []string{ok}},
	{name: "POST behind a request", in: "PING\r\nPOST / HTTP/1.1\r\n\r\nSET ssrf 1\r\n", want: []string{pong}, closed: true, ours: true},
	{name: "a name that is too long to be kept", in: "*1\r\n$536870912\r\n", want: []string{"-"}, closed: true, ours: true},
	{name: "GET of HTTP's", in: "GET / HTTP/1.1\r\nX: y\r\n\r\nSET ssrf 1\r\n", want: nil, closed: true, ours: true},
	{name: "PUT of HTTP's", in: "PUT / HTTP/1.1\r\nX: y\r\n\r\nSET ssrf 1\r\n", want: nil, closed: true, ours: true},
	{name: "a method that nobody knows", in: "FROB / HTTP/1.0\r\n\r\nSET ssrf 1\r\n", want: nil, closed: true, ours: true},
	{name: "HTTP/2", in: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: nil, closed: true, ours: true},
	{name: "memcached", in: "set k 0 60 9\r\nDEL users\r\n", want: nil, closed: true, ours: true},
	{name: "TLS", in: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", want: nil, closed: true, ours: true},
	{name: "a zero byte in a line", in: "PING\x00\r\nPING\r\n", want: []string{wrong}, closed: true, ours: true},
	{name: "a zero byte in a length", in: "*\x001\r\nPING\r\n", want: []string{wrong}, closed: true, ours: true},
}

func TestInputs(t *testing.T) {
	p := newPair(t)
	for _, who := range []struct{ name, socket string }{{"server", p.direct}, {"ambassador", p.behind}} {
		for _, tt := range inputs {
			if tt.ours && who.name == "server" {
				continue
			}
			t.Run(who.name+"/"+tt.name, func(t *testing.T) {
				if err := p.clean(); err != nil {
					t.Fatal(err)
				}
				conn, err := net.Dial("unix", who.socket)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				go func() {
					io.WriteString(conn, tt.in) // as far as it is taken
					if !tt.closed {
						conn.(*net.UnixConn).CloseWrite()
					}
				}()
				out, err := io.ReadAll(conn)
				if os.IsTimeout(err) {
					t.Fatalf("not closed after %q", out)
				}
				got, err := replies(out)
				if err != nil {
					t.Fatal(err)
				}
				for i := range got {
					if i < len(tt.want) && strings.HasPrefix(got[i], tt.want[i]) {
						got[i] = tt.want[i]
					}
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%.200q (-want +got):\n%s", tt.in, diff)
				}
			})
		}
	}
}
