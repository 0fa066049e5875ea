package httpcases

import "strings"

const hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"

// post is a POST with a body in which a request is hidden.
func post(headers, body string) string {
	return "POST /a HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n" + body
}

// smuggles is a request that is refused, whatever hides in it.
func smuggles(name, why, text string) Case {
	return Case{Name: name, Why: why, Text: text, Want: "400", Close: true, Says: true}
}

// lengths are requests whose body two readers could delimit differently.
var lengths = func() (list []Case) {
	both := "RFC 9112 6.1, 11.2"
	te := "0\r\n\r\n" + hidden
	for _, tt := range []struct{ name, why, headers, body string }{
		{"CL.TE", both, "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", te},
		{"TE.CL", both, "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", te},
		{"CL.TE in odd spelling", both, "cOnTeNt-LeNgTh: 6\r\nTRANSFER-ENCODING: CHUNKED\r\n", te},
		{"CL.TE with others between", both, "Content-Length: 6\r\nX: y\r\nTransfer-Encoding: chunked\r\n", te},
		{"CL 0 and TE", both, "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", te},
		{"two lengths", "RFC 9112 6.3", "Content-Length: 0\r\nContent-Length: 33\r\n", hidden},
		{"two equal lengths", "RFC 9112 6.3; nginx", "Content-Length: 3\r\nContent-Length: 3\r\n", "abc"},
		{"list of equal lengths", "RFC 9112 6.3; nginx", "Content-Length: 3, 3\r\n", "abc"},
		{"list of lengths", "RFC 9112 6.3", "Content-Length: 0, 33\r\n", hidden},
		{"signed length", "RFC 9110 8.6", "Content-Length: +0\r\n", hidden},
		{"negative length", "RFC 9110 8.6", "Content-Length: -1\r\n", hidden},
		{"hexadecimal length", "RFC 9110 8.6", "Content-Length: 0x3\r\n", "abc"},
		{"length with an exponent", "RFC 9110 8.6", "Content-Length: 1e1\r\n", "abcdefghij"},
		{"length with a point", "RFC 9110 8.6", "Content-Length: 3.0\r\n", "abc"},
		{"length in two parts", "RFC 9110 8.6", "Content-Length: 3 3\r\n", "abc"},
		{"length with a separator", "RFC 9110 8.6", "Content-Length: 1_0\r\n", "abcdefghij"},
		{"quoted length", "RFC 9110 8.6", "Content-Length: \"3\"\r\n", "abc"},
		{"length with a parameter", "RFC 9110 8.6", "Content-Length: 3;x\r\n", "abc"},
		{"length with NUL", "RFC 9110 5.5", "Content-Length: 3\x00\r\n", "abc"},
		{"length with a vertical tab", "RFC 9110 5.5", "Content-Length: \x0b3\r\n", "abc"},
		{"no length", "RFC 9110 8.6", "Content-Length: \r\n", hidden},
		{"huge length", "RFC 9110 8.6", "Content-Length: 9999999999999999999\r\n", hidden},
		{"length beyond 64 bits", "RFC 9110 8.6", "Content-Length: 18446744073709551619\r\n", "abc"},
		{"xchunked", "RFC 9112 6.1", "Transfer-Encoding: xchunked\r\n", te},
		{"chunkedx", "RFC 9112 6.1", "Transfer-Encoding: chunkedx\r\n", te},
		{"x chunked", "RFC 9112 6.1", "Transfer-Encoding: x chunked\r\n", te},
		{"chunked twice in one", "RFC 9112 6.1", "Transfer-Encoding: chunked, chunked\r\n", te},
		{"chunked, identity", "RFC 9112 6.1", "Transfer-Encoding: chunked, identity\r\n", te},
		{"gzip, chunked", "RFC 9112 6.1, 11.2; nginx", "Transfer-Encoding: gzip, chunked\r\n", te},
		{"identity", "RFC 9112 6.1", "Transfer-Encoding: identity\r\n", te},
		{"identity with a length", "RFC 9112 6.1", "Content-Length: 0\r\nTransfer-Encoding: identity\r\n", hidden},
		{"empty coding", "RFC 9112 6.1", "Transfer-Encoding: \r\n", te},
		{"comma and chunked", "RFC 9112 6.1", "Transfer-Encoding: , chunked\r\n", te},
		{"quoted chunked", "RFC 9112 6.1", "Transfer-Encoding: \"chunked\"\r\n", te},
		{"chunked with a parameter", "RFC 9112 6.1", "Transfer-Encoding: chunked;q=1\r\n", te},
		{"TE.TE", "RFC 9112 6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", te},
		{"TE.TE, other order", "RFC 9112 6.1", "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n", te},
		{"chunked twice", "RFC 9112 6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", te},
		{"vertical tab before chunked", "RFC 9110 5.5", "Transfer-Encoding: \x0bchunked\r\n", te},
		{"form feed before chunked", "RFC 9110 5.5", "Transfer-Encoding: \x0cchunked\r\n", te},
		{"NUL behind chunked", "RFC 9110 5.5", "Transfer-Encoding: chunked\x00\r\n", te},
		{"no-break space behind chunked", "RFC 9112 6.1", "Transfer-Encoding: chunked\xa0\r\n", te},
		{"space before the colon of TE", "RFC 9112 5.1", "Transfer-Encoding : chunked\r\n", te},
		{"tab before the colon of TE", "RFC 9112 5.1", "Transfer-Encoding\t: chunked\r\n", te},
		{"space before the colon of CL", "RFC 9112 5.1", "Content-Length : 33\r\n", hidden},
		{"NUL in a name", "RFC 9110 5.1", "Content-Length\x00: 33\r\n", hidden},
		{"space in a name", "RFC 9110 5.1", "Content Length: 33\r\n", hidden},
		{"carriage return in a name", "RFC 9112 2.2", "Content-Length\r: 33\r\n", hidden},
		{"folded TE", "RFC 9112 5.2", "X: a\r\n Transfer-Encoding: chunked\r\n", te},
		{"folded value of TE", "RFC 9112 5.2", "Transfer-Encoding:\r\n chunked\r\n", te},
		{"folded with a tab", "RFC 9112 5.2", "Transfer-Encoding:\r\n\tchunked\r\n", te},
		{"folded CL", "RFC 9112 5.2", "Content-Length:\r\n 33\r\n", hidden},
		{"folded harmlessly", "RFC 9112 5.2", "X: a\r\n b\r\n", ""},
		{"bare CR before TE", "RFC 9112 2.2", "X: a\rTransfer-Encoding: chunked\r\n", te},
		{"bare LF before TE", "RFC 9112 2.2", "X: a\nTransfer-Encoding: chunked\r\n", te},
		{"CR CR LF", "RFC 9112 2.2", "X: a\r\r\n", ""},
		{"LF CR", "RFC 9112 2.2", "X: a\n\rTransfer-Encoding: chunked\r\n", te},
		{"NUL in a value", "RFC 9110 5.5", "X: a\x00b\r\n", ""},
		{"DEL in a value", "RFC 9110 5.5", "X: a\x7fb\r\n", ""},
		{"escape in a value", "RFC 9110 5.5", "X: a\x1bb\r\n", ""},
		{"no colon", "RFC 9112 5", "Transfer-Encoding\r\n", te},
		{"no name", "RFC 9112 5", ": chunked\r\n", te},
		{"obs-text in a name", "RFC 9110 5.1", "X\xff: a\r\n", ""},
		{"parentheses in a name", "RFC 9110 5.1", "X(): a\r\n", ""},
		{"slash in a name", "RFC 9110 5.1", "X/Y: a\r\n", ""},
	} {
		list = append(list, smuggles(tt.name, tt.why, post(tt.headers, tt.body)))
	}
	return append(list,
		smuggles("chunked in HTTP/1.0", "RFC 9112 6.1", "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"+te),
		smuggles("bare line feeds", "RFC 9112 2.2", "GET /a HTTP/1.1\nHost: a\n\n"+hidden),
		smuggles("bare line feed as the empty line", "RFC 9112 2.2", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\n"+hidden),
		smuggles("white space before the first header", "RFC 9112 2.2", "POST /a HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a\r\n\r\n"+te),
		Case{
			Name: "after a good one", Why: "RFC 9112 9.3.2", Text: post("Content-Length: 3\r\n", "abc") + post("X : y\r\n", ""),
			Want: "200 400", Close: true, Says: true, Seen: 1, Asked: "abc",
		},
		Case{
			Name: "underscores", Why: "nginx's underscores_in_headers", Text: post("Content-Length: 3\r\nTransfer_Encoding: chunked\r\nContent_Length: 9\r\n", "abc"),
			Want: "200", Seen: 1, Asked: "abc", Never: []string{"transfer_encoding", "content_length"},
		},
		Case{Name: "white space around a length", Why: "RFC 9110 5.5", Text: post("Content-Length:\t 3 \r\n", "abc"), Want: "200", Seen: 1, Asked: "\r\n\r\nabc"},
		Case{Name: "leading zeros", Why: "RFC 9110 8.6", Text: post("Content-Length: 0003\r\n", "abc"), Want: "200", Seen: 1, Asked: "\r\n\r\nabc"},
		Case{Name: "chunked in capitals", Why: "RFC 9112 7", Text: post("TRANSFER-ENCODING: Chunked \r\n", "0\r\n\r\n"), Want: "200", Seen: 1},
		Case{
			Name: "GET with a body", Why: "RFC 9110 9.3.1", Text: "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" + hidden,
			Want: "200", Seen: 1, Asked: "\r\n\r\n" + hidden,
		},
		Case{
			Name: "HEAD with a body", Why: "RFC 9110 9.3.2", Text: "HEAD /a HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n" + hidden,
			App: Script{Answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"}, Want: "200", Seen: 1, Asked: "\r\n\r\n" + hidden,
		},
	)
}()

// lines are request lines and hosts.
var lines = func() (list []Case) {
	for _, tt := range []struct{ name, why, line string }{
		{"two spaces", "RFC 9112 3", "GET  /a HTTP/1.1"},
		{"tabs", "RFC 9112 3", "GET\t/a\tHTTP/1.1"},
		{"space behind the version", "RFC 9112 3", "GET /a HTTP/1.1 "},
		{"leading space", "RFC 9112 3", " GET /a HTTP/1.1"},
		{"version in small letters", "RFC 9112 2.3", "GET /a http/1.1"},
		{"version of two digits", "RFC 9112 2.3", "GET /a HTTP/1.10"},
		{"version 2.0", "RFC 9112 2.3", "GET /a HTTP/2.0"},
		{"no minor version", "RFC 9112 2.3", "GET /a HTTP/1"},
		{"no version", "RFC 9112 3", "GET /a"},
		{"no target", "RFC 9112 3", "GET HTTP/1.1"},
		{"parenthesis in the method", "RFC 9110 9.1", "GE(T /a HTTP/1.1"},
		{"colon in the method", "RFC 9110 9.1", "GET: /a HTTP/1.1"},
		{"NUL in the target", "RFC 9112 3.2", "GET /a\x00b HTTP/1.1"},
		{"control character in the target", "RFC 9112 3.2", "GET /a\x01b HTTP/1.1"},
		{"space in the target", "RFC 9112 3.2", "GET /a b HTTP/1.1"},
		{"carriage return in the target", "RFC 9112 2.2", "GET /a\rb HTTP/1.1"},
		{"fragment", "RFC 9112 3.2; HAProxy's answer to CVE-2023-45539", "GET /a#b HTTP/1.1"},
		{"fragment in the query", "RFC 9112 3.2", "GET /a?b#c HTTP/1.1"},
		{"half an escape", "RFC 3986 2.1; nginx", "GET /a%2 HTTP/1.1"},
		{"no escape", "RFC 3986 2.1; nginx", "GET /a%zz HTTP/1.1"},
		{"relative target", "RFC 9112 3.2", "GET a HTTP/1.1"},
		{"asterisk", "RFC 9112 3.2.4", "GET * HTTP/1.1"},
		{"user in the target", "RFC 9110 4.2.4", "GET http://me:pw@a/a HTTP/1.1"},
		{"other scheme", "RFC 9112 3.2.2", "GET ftp://a/a HTTP/1.1"},
		{"no host in the target", "RFC 9110 4.2.1", "GET http:///a HTTP/1.1"},
	} {
		list = append(list, smuggles(tt.name, tt.why, tt.line+"\r\nHost: a\r\n\r\n"))
	}
	for _, tt := range []struct{ name, why, host string }{
		{"no host", "RFC 9112 3.2", ""},
		{"two hosts", "RFC 9112 3.2", "Host: a\r\nHost: b\r\n"},
		{"the same host twice", "RFC 9112 3.2", "Host: a\r\nHost: a\r\n"},
		{"empty host", "RFC 9110 4.2.1", "Host: \r\n"},
		{"host with a path", "RFC 9110 7.2", "Host: a/evil\r\n"},
		{"host with a user", "RFC 9110 7.2", "Host: me@a\r\n"},
		{"two hosts in one", "RFC 9110 7.2", "Host: a,evil\r\n"},
		{"host with a space", "RFC 9110 7.2", "Host: a evil\r\n"},
		{"port of six digits", "RFC 3986 3.2.3", "Host: a:99999\r\n"},
		{"port 0", "RFC 9110 4.2.1", "Host: a:0\r\n"},
		{"signed port", "RFC 3986 3.2.3", "Host: a:+80\r\n"},
		{"port that is no number", "RFC 3986 3.2.3", "Host: a:b\r\n"},
		{"open bracket", "RFC 3986 3.2.2", "Host: [::1\r\n"},
		{"zone", "RFC 6874 4", "Host: [fe80::1%25eth0]\r\n"},
		{"space before the colon of Host", "RFC 9112 5.1", "Host : a\r\n"},
	} {
		list = append(list, smuggles(tt.name, tt.why, "GET /a HTTP/1.1\r\n"+tt.host+"\r\n"))
	}
	method := func(line string) Case {
		return Case{
			Name: strings.Fields(line)[0], Why: "RFC 9110 15.5.6", Text: line + " HTTP/1.1\r\nHost: a:22\r\n\r\n",
			Want: "405", Close: true, Says: true, Heard: []string{"Allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"},
		}
	}
	return append(list,
		method("CONNECT a:22"), method("TRACE /"),
		smuggles("garbage", "RFC 9112 3", "\x16\x03\x01\x00\x05hello\r\n\r\n"),
		Case{Name: "the preface of HTTP/2", Why: "RFC 9113 3.4", Text: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Want: "400", Close: true, NoH2C: true},
		smuggles("bare line feed first", "RFC 9112 2.2", "\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
		smuggles("carriage return first", "RFC 9112 2.2", "\rGET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
		Case{Name: "an empty line first", Why: "RFC 9112 2.2", Text: "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", Want: "200", Seen: 1, Asked: "GET /a "},
		Case{
			Name: "an empty line behind a body", Why: "RFC 9112 2.2", Text: post("Content-Length: 3\r\n", "abc") + "\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
			Want: "200 200", Seen: 2, Asked: "GET /b ",
		},
		Case{
			Name: "an empty line behind chunks", Why: "RFC 9112 2.2", Text: post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n") + "\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
			Want: "200 200", Seen: 2, Asked: "GET /b ",
		},
		smuggles("empty lines without end", "RFC 9112 2.2", strings.Repeat("\r\n", 20)+"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
		Case{Name: "a higher minor version", Why: "RFC 9110 2.5", Text: "GET /a HTTP/1.2\r\nHost: a\r\n\r\n", Want: "200", Seen: 1, Asked: "GET /a HTTP/1.1\r\n"},
		Case{
			Name: "a port that is empty", Why: "RFC 3986 3.2.3", Text: "GET /a HTTP/1.1\r\nHost: example.com:\r\n\r\n", Want: "200", Seen: 1,
			Asked: "Host: example.com:\r\n", Never: []string{"X-Forwarded-Port: \r\n"},
		},
		Case{Name: "IPv6", Why: "RFC 3986 3.2.2", Text: "GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", Want: "200", Seen: 1, Asked: "Host: [::1]:8080\r\n"},
		Case{Name: "HTTP/1.0", Why: "RFC 9110 2.5", Text: "GET /old HTTP/1.0\r\n\r\n", Want: "200", Close: true, Seen: 1, Asked: "GET /old HTTP/1.1\r\n"},
		Case{
			Name: "an expectation of HTTP/1.0", Why: "RFC 9110 10.1.1", Text: "POST /a HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
			Want: "200", Close: true, Seen: 1, Asked: "\r\n\r\nabc", Never: []string{"Expect"},
		},
		Case{Name: "another expectation", Why: "RFC 9110 10.1.1", Text: post("Expect: tea\r\nContent-Length: 0\r\n", ""), Want: "417", Close: true},
		Case{Name: "asterisk of OPTIONS", Why: "RFC 9112 3.2.4", Text: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Want: "200", Seen: 1, Asked: "OPTIONS * HTTP/1.1\r\nHost: a\r\n"},
		Case{
			Name: "absolute form", Why: "RFC 9112 3.2.2", Text: "GET http://b.example/p?q HTTP/1.1\r\nHost: a\r\n\r\n", Want: "200", Seen: 1,
			Asked: "GET /p?q HTTP/1.1\r\nHost: b.example\r\n",
		},
		Case{
			Name: "absolute form without a path", Why: "RFC 9112 3.2.1", Text: "GET http://b.example?q HTTP/1.1\r\nHost: a\r\n\r\n", Want: "200", Seen: 1,
			Asked: "GET /?q HTTP/1.1\r\nHost: b.example\r\n",
		},
		Case{Name: "large head", Why: "RFC 6585 5", Text: "GET /a HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 256<<10) + "\r\n\r\n", Want: "431", Close: true},
		Case{Name: "many headers", Why: "RFC 6585 5", Text: "GET /a HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n", 40<<10) + "\r\n", Want: "431", Close: true},
	)
}()

// targets go on as they came.
var targets = func() (list []Case) {
	for _, target := range Targets {
		list = append(list, Case{
			Name: "target " + target, Why: "RFC 3986 2.2, 6.2.2.2; golang/go#35908",
			Text: "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n", Want: "200", Seen: 1, Asked: "GET " + target + " HTTP/1.1\r\nHost: a\r\n",
		})
	}
	return list
}()

// Targets are what a client may ask for, and a server must be asked for.
var Targets = []string{
	"/", "/p?", "/?", "/??", "/a//b///c", "//other.example/p", "//", "/a/./b/../c", "/..", "/x/%2e%2e%2Fadmin|", "/x/%2e%2e%2fadmin",
	"/a|b", "/a{b}", "/a\"b\"", "/a^b", "/a\\b", "/a`b", "/a<b>", "/a[b]", "/a'b", "/a%20b%00c", "/a%7Cb|c", "/%41%61", "/a;b=c,d", "/ä", "/\xff\xfe",
	"/?a=1;b=%zz&&c", "/?a=|{}\"^\\`<>[]", "/?ä", "/a?b?c=/d/../e", "//other.example|/p", "/a:b@c", "/*", "/a%2Fb", "/a+b~c-d_e.f!g$h&i(j)k*l=m",
}

// chunks are bodies that break a rule when the app has the head already, and must
// not get an end that the client did not send.
var chunks = func() (list []Case) {
	for _, tt := range []struct{ name, why, rest string }{
		{"bare line feed behind the size", "RFC 9112 7.1", "3\nabc\r\n0\r\n\r\n"},
		{"space before the extension", "RFC 9112 7.1.1", "3 ;x\r\nabc\r\n0\r\n\r\n"},
		{"space behind the size", "RFC 9112 7.1", "3 \r\nabc\r\n0\r\n\r\n"},
		{"space before the size", "RFC 9112 7.1", " 3\r\nabc\r\n0\r\n\r\n"},
		{"bare line feed behind the extension", "RFC 9112 7.1.1", "3;\nabc\r\n0\r\n\r\n"},
		{"bare line feed in the extension", "RFC 9112 7.1.1; CVE-2023-46137", "3;a\nb\r\nabc\r\n0\r\n\r\n"},
		{"carriage return in the extension", "RFC 9112 7.1.1", "3;a\rb\r\nabc\r\n0\r\n\r\n"},
		{"NUL in the extension", "RFC 9112 7.1.1", "3;a\x00b\r\nabc\r\n0\r\n\r\n"},
		{"long extension", "CVE-2023-39326", "3;" + strings.Repeat("a", 5000) + "\r\nabc\r\n0\r\n\r\n"},
		{"chunk longer than its size", "RFC 9112 7.1", "2\r\nabc\r\n0\r\n\r\n"},
		{"no line end behind the data", "RFC 9112 7.1", "3\r\nabc0\r\n\r\n"},
		{"line feed behind the data", "RFC 9112 7.1", "3\r\nabc\n0\r\n\r\n"},
		{"negative size", "RFC 9112 7.1", "-1\r\nabc\r\n0\r\n\r\n"},
		{"signed size", "RFC 9112 7.1", "+3\r\nabc\r\n0\r\n\r\n"},
		{"size with 0x", "RFC 9112 7.1", "0x3\r\nabc\r\n0\r\n\r\n"},
		{"size with a separator", "RFC 9112 7.1", "0_3\r\nabc\r\n0\r\n\r\n"},
		{"no size", "RFC 9112 7.1", "\r\nabc\r\n0\r\n\r\n"},
		{"size beyond 64 bits", "RFC 9112 7.1", "10000000000000003\r\nabc\r\n0\r\n\r\n"},
		{"negative in 64 bits", "RFC 9112 7.1", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n"},
		{"bare line feed at the end", "RFC 9112 7.1", "0\r\n\n" + hidden},
		{"bare line feed behind the last size", "RFC 9112 7.1", "0\n\r\n" + hidden},
		{"length as a trailer", "RFC 9110 6.5.1", "0\r\nContent-Length: 5\r\n\r\n"},
		{"coding as a trailer", "RFC 9110 6.5.1", "0\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"host as a trailer", "RFC 9110 6.5.1", "0\r\nHost: evil\r\n\r\n"},
		{"space before the colon of a trailer", "RFC 9112 5.1", "0\r\nA : b\r\n\r\n"},
		{"bare line feed in a trailer", "RFC 9112 2.2", "0\r\nA: b\nC: d\r\n\r\n"},
		{"folded trailer", "RFC 9112 5.2", "0\r\nA: b\r\n c\r\n\r\n"},
		{"long trailers", "RFC 9112 7.1.2", "0\r\n" + strings.Repeat("A: bcdefghijklmnop\r\n", 1000) + "\r\n"},
	} {
		list = append(list, smuggles("chunks: "+tt.name, tt.why, post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"+tt.rest)))
	}
	good := func(name, why, body, asked string, never ...string) Case {
		return Case{Name: "chunks: " + name, Why: why, Text: post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", body), Want: "200", Seen: 1, Asked: asked, Never: never}
	}
	return append(list,
		good("extension", "RFC 9112 7.1.1", "3;evil=\"x\"\r\nabc\r\n0;y\r\n\r\n", "abc", "evil", ";y"),
		good("capitals", "RFC 9112 7.1", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
		good("zeros", "RFC 9112 7.1", "0003\r\nabc\r\n000\r\n\r\n", "abc"),
		good("trailer", "RFC 9112 7.1.2", "3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n", "X-Sum: 7\r\n"),
		good("trailer that nobody announced", "RFC 9110 6.5.2", "3\r\nabc\r\n0\r\nX-Other: 8\r\n\r\n", "X-Other: 8\r\n"),
		good("trailer that says who asks", "RFC 9110 6.5.1", "3\r\nabc\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sum: 7\r\n\r\n", "X-Sum: 7\r\n", "6.6.6.6"),
	)
}()

// hops are what is for one hop only.
var hops = []Case{
	{
		Name: "hop by hop", Why: "RFC 9110 7.6.1", Text: "GET /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n" +
			"Proxy-Connection: x\r\nProxy: http://evil\r\nTE: gzip\r\nUpgrade: h2c\r\nX-End: 1\r\n\r\n",
		Want: "200", Seen: 1, Asked: "X-End: 1", Never: []string{"X-Hop", "Keep-Alive", "Proxy", "\r\nTE:", "Upgrade", "\r\nConnection"},
	},
	{
		Name: "upgrade to h2c", Why: "RFC 9113 3.1", Text: "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
		Want: "200", Seen: 1, Never: []string{"Upgrade", "HTTP2-Settings"}, Deaf: []string{"Upgrade"},
	},
	{
		Name: "upgrade with a body", Why: "RFC 9110 7.8: it may be ignored", Text: post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n", "abc"),
		Want: "200", Seen: 1, Asked: "\r\n\r\nabc", Never: []string{"Upgrade"},
	},
	{
		Name: "a request behind a refused upgrade", Why: "RFC 9110 7.8", Text: "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + hidden,
		Want: "200", Close: true, Seen: 1,
	},
	{
		Name: "who asks", Why: "RFC 7239 8.1", Text: "GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX_Real_Ip: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nClient-Cert: 6.6.6.6\r\n\r\n",
		Want: "200", Seen: 1, Asked: "X-Forwarded-For: 127.0.0.1\r\n", Never: []string{"6.6.6.6"},
	},
}

// overtaken are answers that come before their request's body.
var overtaken = func() (list []Case) {
	rest := strings.Repeat(hidden, 100)
	for _, tt := range []struct {
		name, head, body string
		app              Script
		want             string
	}{
		{"expectation", "Expect: 100-continue\r\nContent-Length: 1000000\r\n", "", Script{Answer: "HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", Early: true, Close: true}, "403"},
		{"expectation, the app goes on", "Expect: 100-continue\r\nContent-Length: 1000000\r\n", "", Script{Answer: "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", Early: true}, "403"},
		{"expectation of chunks", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "", Script{Answer: "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", Early: true}, "403"},
		{"body", "Content-Length: 1000000\r\n", "", Script{Answer: "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", Early: true}, "413"},
		{"body, the app closes", "Content-Length: 1000000\r\n", "abc", Script{Answer: "HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", Early: true, Close: true}, "413"},
		{"success", "Content-Length: 1000000\r\n", "abc", Script{Early: true}, "200"},
		{"204", "Content-Length: 1000000\r\n", "abc", Script{Answer: "HTTP/1.1 204 No Content\r\n\r\n", Early: true}, "204"},
		{"chunked answer", "Content-Length: 1000000\r\n", "abc", Script{Answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Early: true}, "200"},
		{"chunks", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n", Script{Answer: "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", Early: true}, "413"},
		{"body without a beginning", "Content-Length: 3\r\n", "", Script{Answer: "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno", Early: true}, "401"},
		{"unusual answer", "Content-Length: 1000000\r\n", "abc", Script{Answer: "HTTP/1.1 413 No\r\nX : y\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", Early: true, Close: true}, "413"},
	} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "GET", "PROPFIND"} {
			list = append(list, Case{
				Name: "overtaken: " + tt.name + ", " + method, Why: "RFC 9112 6.3, 9.3, 11.2; RFC 9110 10.1.1; nginx drains",
				Text: method + " /a HTTP/1.1\r\nHost: a\r\n" + tt.head + "\r\n" + tt.body, Rest: rest, App: tt.app,
				Want: tt.want, Close: true, Says: true, Seen: -1,
			})
		}
	}
	return list
}()
