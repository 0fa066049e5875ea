package httpcases

import "strings"

// get is a GET, and what the app answers to it.
func get(name, why, answer, want string, edit func(*Case)) Case {
	c := Case{Name: "answer: " + name, Why: why, Text: "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", App: Script{Answer: answer}, Want: want, Seen: 1}
	if edit != nil {
		edit(&c)
	}
	return c
}

func hears(list ...string) func(*Case) { return func(c *Case) { c.Heard = list } }
func closes(c *Case)                   { c.App.Close = true }
func cut(c *Case)                      { c.Cut, c.App.Close = true, true }

const ok = "HTTP/1.1 200 OK\r\n"

// answers are what servers say.
var answers = func() (list []Case) {
	list = []Case{
		get("length", "RFC 9112 6.2", Fine, "200", hears("\r\n\r\nok")),
		get("empty", "RFC 9112 6.2", ok+"Content-Length: 0\r\n\r\n", "200", hears("Content-Length: 0")),
		get("chunks", "RFC 9112 7.1", ok+"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200", hears("\r\n\r\nok")),
		get("trailer", "RFC 9112 7.1.2", ok+"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n", "200", hears("X-Sum: 7")),
		get("trailer that nobody announced", "RFC 9112 7.1.2", ok+"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n", "200", hears("\r\n\r\nok", "X-Sum: 7")),
		get("to the end", "RFC 9112 6.3", ok+"\r\nok", "200", func(c *Case) { closes(c); c.Heard = []string{"\r\n\r\nok"}; c.Deaf = []string{"<cut>"} }),
		get("the app closes", "RFC 9112 9.6", ok+"Content-Length: 2\r\nConnection: close\r\n\r\nok", "200", closes),
		get("HTTP/1.0", "RFC 9112 6.3", "HTTP/1.0 200 OK\r\n\r\nok", "200", closes),
		get("HTTP/1.0, kept alive", "RFC 9112 C.2.2", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "200", nil),
		get("a higher minor version", "RFC 9110 2.5", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", "200", nil),
		get("no reason", "RFC 9112 4", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", "200", nil),
		get("no reason, nor a space", "curl, nginx", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "200", nil),
		get("space before a colon", "RFC 9112 5.1", ok+"X-Foo : bar\r\nContent-Length: 2\r\n\r\nok", "200", hears("X-Foo: bar")),
		get("space before the colon of the length", "RFC 9112 5.1", ok+"Content-Length : 2\r\n\r\nok", "200", hears("\r\n\r\nok")),
		get("tab before the colon of the coding", "RFC 9112 5.1", ok+"Transfer-Encoding\t: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200", hears("\r\n\r\nok")),
		get("folded", "RFC 9112 5.2", ok+"X-Foo: a\r\n b\r\nContent-Length: 2\r\n\r\nok", "200", hears("X-Foo: a b")),
		get("bare line feeds", "RFC 9112 2.2", "HTTP/1.1 200 OK\nX-Foo: bar\nContent-Length: 2\n\nok", "200", hears("X-Foo: bar")),
		get("identity", "RFC 2616 3.6", ok+"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", "200", hears("\r\n\r\nok")),
		get("identity to the end", "RFC 2616 3.6", ok+"Transfer-Encoding: identity\r\n\r\nok", "200", func(c *Case) { closes(c); c.Heard = []string{"\r\n\r\nok"} }),
		get("equal lengths", "RFC 9112 6.3", ok+"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "200", nil),
		get("list of equal lengths", "RFC 9112 6.3", ok+"Content-Length: 2, 2\r\n\r\nok", "200", nil),
		get("204", "RFC 9110 15.3.5", "HTTP/1.1 204 No Content\r\n\r\n", "204", func(c *Case) { c.Deaf = []string{"Content-Length", "Transfer-Encoding"} }),
		get("204 with a length", "RFC 9110 8.6", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "204", func(c *Case) { c.Deaf = []string{"Content-Length"} }),
		get("304", "RFC 9110 15.4.5", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", "304", func(c *Case) {
			c.Heard = []string{"Etag: \"a\""}
			c.Deaf = []string{"Content-Length", "Transfer-Encoding"}
		}),
		get("304 with a length", "RFC 9110 8.6", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", "304", nil),
		get("205", "RFC 9110 15.3.6", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "205", nil),
		get("299", "RFC 9110 15", "HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok", "299", nil),
		get("599", "RFC 9110 15", "HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nok", "599", nil),
		get("103", "RFC 8297 2", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+Fine, "103 200", hears("Link: </a>")),
		get("103 twice", "RFC 9110 15.2", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 2)+Fine, "103 103 200", nil),
		get("102", "RFC 9110 15.2", "HTTP/1.1 102 Processing\r\n\r\n"+Fine, "102 200", nil),
		get("100 that nobody awaits", "RFC 9110 15.2.1", "HTTP/1.1 100 Continue\r\n\r\n"+Fine, "200", nil),
		get("426", "RFC 9110 15.5.22, 7.8", "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno", "426",
			hears("Upgrade: websocket", "Connection: Upgrade")),
		get("405", "RFC 9110 15.5.6", "HTTP/1.1 405 No\r\nAllow: POST\r\nContent-Length: 2\r\n\r\nno", "405", hears("Allow: POST")),
		get("hop by hop", "RFC 9110 7.6.1", ok+"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok", "200",
			func(c *Case) { c.Deaf = []string{"X-Hop", "Keep-Alive", "Proxy-", "Upgrade"} }),
		get("two cookies", "RFC 6265 3", ok+"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok", "200", hears("Set-Cookie: a=b\r\nSet-Cookie: c=d")),

		get("shorter than its length", "RFC 9112 8", ok+"Content-Length: 3\r\n\r\nok", "200", cut),
		get("chunks without an end", "RFC 9112 8", ok+"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "200", cut),
		get("a chunk without an end", "RFC 9112 8", ok+"Transfer-Encoding: chunked\r\n\r\n3\r\nok", "200", cut),
		get("a bad chunk", "RFC 9112 7.1", ok+"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n\r\n", "200", cut),
		get("a second answer", "RFC 9112 9.3", Fine+"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret", "200", func(c *Case) { c.Deaf = []string{"secret"} }),
		get("a second answer to 204", "RFC 9112 9.3", "HTTP/1.1 204 No\r\nContent-Length: 6\r\n\r\nsecret", "204", func(c *Case) { c.Deaf = []string{"secret"} }),
		get("a second answer to 304", "RFC 9112 9.3", "HTTP/1.1 304 No\r\nContent-Length: 6\r\n\r\nsecret", "304", func(c *Case) { c.Deaf = []string{"secret"} }),
	}
	head := func(name, why, answer string, edit func(*Case)) Case {
		c := get("HEAD: "+name, why, answer, "200", edit)
		c.Text = "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n"
		return c
	}
	list = append(list,
		head("length", "RFC 9110 9.3.2", ok+"Content-Length: 1234\r\n\r\n", hears("Content-Length: 1234")),
		head("no length", "RFC 9110 9.3.2", ok+"X-Foo: bar\r\n\r\n", func(c *Case) { c.Heard = []string{"X-Foo: bar"}; c.Deaf = []string{"Content-Length"} }),
		head("chunks", "RFC 9112 6.1", ok+"Transfer-Encoding: chunked\r\n\r\n", nil),
		head("a body all the same", "RFC 9110 9.3.2", ok+"Content-Length: 6\r\n\r\nsecret", func(c *Case) { c.Deaf = []string{"secret"} }),
	)
	for _, tt := range []struct{ name, why, answer string }{
		{"both lengths", "RFC 9112 6.3; nginx", ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"two lengths", "RFC 9112 6.3", ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"},
		{"negative length", "RFC 9112 6.3", ok + "Content-Length: -2\r\n\r\nok"},
		{"signed length", "RFC 9112 6.3", ok + "Content-Length: +2\r\n\r\nok"},
		{"length that is no number", "RFC 9112 6.3", ok + "Content-Length: x\r\n\r\nok"},
		{"empty length", "RFC 9112 6.3", ok + "Content-Length: \r\n\r\nok"},
		{"huge length", "RFC 9112 6.3", ok + "Content-Length: 99999999999999999999\r\n\r\nok"},
		{"other coding", "RFC 9112 6.1; nginx", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"chunked twice", "RFC 9112 6.1; nginx", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"chunks in HTTP/1.0", "RFC 9112 6.1", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"NUL", "RFC 9110 5.5", ok + "X: a\x00b\r\nContent-Length: 2\r\n\r\nok"},
		{"bare carriage return", "RFC 9112 2.2", ok + "X: a\rSet-Cookie: b=c\r\nContent-Length: 2\r\n\r\nok"},
		{"no colon", "RFC 9112 5", ok + "X\r\nContent-Length: 2\r\n\r\nok"},
		{"no name", "RFC 9112 5", ok + ": x\r\nContent-Length: 2\r\n\r\nok"},
		{"space in a name", "RFC 9110 5.1", ok + "X Y: x\r\nContent-Length: 2\r\n\r\nok"},
		{"garbage", "RFC 9112 4", "hello\r\n\r\n"},
		{"HTTP/2", "RFC 9112 2.3", "HTTP/2 200\r\nContent-Length: 2\r\n\r\nok"},
		{"HTTP/0.9", "RFC 9112 4", "<html>hello</html>"},
		{"status of two digits", "RFC 9112 4", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"status of four digits", "RFC 9112 4", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"},
		{"status below 100", "RFC 9110 15", "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok"},
		{"status above 599", "RFC 9110 15", "HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok"},
		{"nothing", "RFC 9110 15.6.3", " "},
		{"half a head", "RFC 9112 8", ok + "Content-Len"},
		{"huge head", "nginx's proxy_buffer_size", ok + "X: " + strings.Repeat("a", 2<<20) + "\r\nContent-Length: 2\r\n\r\nok"},
		{"a switch that nobody asked for", "RFC 9110 7.8, 15.2.2", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\nhello"},
		{"informational, and no more", "RFC 9110 15.2", "HTTP/1.1 102 Processing\r\n"},
	} {
		list = append(list, get(tt.name, tt.why, tt.answer, "502", closes))
	}
	return list
}()

// Requests is the table.
var Requests = func() (all []Case) {
	for _, list := range [][]Case{lengths, lines, targets, chunks, hops, overtaken, answers} {
		all = append(all, list...)
	}
	return all
}()
