package http1

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	forwarder = &Forwarder{Scheme: "https"}
	client    = forwarder.About(netip.MustParseAddr("192.0.2.1"), nil)
)

// fast is what a fast path makes of the request at the start of text.
func fast(text []byte) (out []byte, verdict Verdict) {
	var r Request
	if v := r.Parse(text); v != Plain {
		return nil, v
	}
	out = r.AppendTo(nil, forwarder.Lines(nil, client, &r))
	return append(out, text[r.Size:min(len(text), r.Size+int(r.Length))]...), Plain
}

// wire keeps what a transport would send, and gives the app's answer.
type wire struct {
	sent   bytes.Buffer
	answer string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Write(&w.sent); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(strings.NewReader(w.answer)), r)
}

// careful is what the careful path makes of it: the scanner, net/http, Refuse
// and ReverseProxy. nil is a refusal.
func careful(text []byte) []byte {
	var f Framing
	if _, _, err := f.Scan(text); err != nil {
		return nil
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
	if err != nil || Refuse(r) != nil || len(r.Header["Host"]) > 0 {
		return nil
	}
	r.RemoteAddr = "192.0.2.1:999"
	w := &wire{answer: "HTTP/1.1 204 No Content\r\n\r\n"}
	proxy := &httputil.ReverseProxy{
		Transport: w,
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = "http", "app"
			pr.Out.Host = pr.In.Host
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
			forwarder.Apply(pr.Out.Header, pr.In)
		},
	}
	proxy.ServeHTTP(httptest.NewRecorder(), r)
	return w.sent.Bytes()
}

// asked is a request as an app understands it.
type asked struct {
	Method, Target, Host string
	Header               http.Header
	Body                 string
	Length               int64
}

func understand(t *testing.T, text []byte) asked {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	body, _ := io.ReadAll(r.Body) // a part of it will do
	return asked{r.Method, r.RequestURI, r.Host, r.Header, string(body), r.ContentLength}
}

// sameRequest holds the fast path to the careful one.
func sameRequest(t *testing.T, text []byte) Verdict {
	t.Helper()
	got, verdict := fast(text)
	switch verdict {
	case Part:
		if bytes.Contains(text, endOfHead) {
			t.Errorf("%q is whole", text)
		}
	case Plain:
		var r Request
		r.Parse(text)
		want := careful(text[:min(int64(len(text)), int64(r.Size)+r.Length)]) // not what is behind it
		if want == nil {
			t.Fatalf("%q is plain, and refused by the careful path", text)
		}
		if diff := cmp.Diff(understand(t, want), understand(t, got)); diff != "" {
			t.Fatalf("%q\nfast    %q\ncareful %q\n(-careful +fast):\n%s", text, got, want, diff)
		}
	}
	return verdict
}

var requestSeeds = map[string]Verdict{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n": Plain,
	"GET /a%2fb//c?x=1;y&%zz HTTP/1.1\r\nHost: a.example:8443\r\nUser-Agent: wrk\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n": Plain,
	"GET //other/p? HTTP/1.1\r\nhost:a\r\nCONNECTION:Close\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\r\n":                        Plain,
	"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\nCookie: a=b\r\nCookie: c=d\r\n\r\nabc":                                  Plain,
	"POST /a HTTP/1.1\r\nHost: a\r\n\r\n":                        Plain,
	"DELETE /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n": Plain,
	"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX_Real_IP: 1\r\nProxy: evil\r\nTransfer_Encoding: chunked\r\nForwarded: for=x\r\nX: \r\n\r\n": Plain,
	"GET / HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\nCache-Control: max-age=0\r\nX: \xff \t\r\nUser-Agent:\r\n\r\n":                                        Plain,
	"GET / HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\n\r\n":                                                                                                 Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: a\r\nUser-Agent: b\r\n\r\n":                                                                                   Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X\r\nX: 1\r\n\r\n":                                                                                     Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n":                                                                        Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n":                                                                                             Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n":                                                                                                     Unusual,
	"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n":                                                                                                                 Unusual,
	"GET / HTTP/1.1\r\nHost: a:0\r\n\r\n":                                                                                                                   Unusual,
	"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n":                                                                                                               Unusual,
	"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n":                                                                                                                   Unusual,
	"GET / HTTP/1.1\r\nHost: \r\n\r\n":                                                                                                                      Unusual,
	"GET / HTTP/1.1\r\n\r\n":                                                                                                                                Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n":                                                                                                          Unusual,
	"GET / HTTP/1.0\r\nHost: a\r\n\r\n":                                                                                                                     Unusual,
	"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                             Unusual,
	"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                                  Unusual,
	"GET /% HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                                    Unusual,
	"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                                  Unusual,
	"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                                  Unusual,
	"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                             Unusual,
	"get / HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                                     Unusual,
	"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                               Unusual,
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                                 Unusual,
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":                                                                             Unusual,
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc":                                                                                           Unusual,
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc":                                                                       Unusual,
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1234567890123456789\r\n\r\n":                                                                             Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n":                                                                                                            Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n":                                                                                                       Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n":                                                                                                          Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nA: b\nc: d\r\n\r\n":                                                                                                       Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\nA: \x00\r\n\r\n":                                                                                                          Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n":                                                                                                              Unusual,
	"GET / HTTP/1.1\nHost: a\n\n":                                                                                                                           Unusual,
	"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n":                                                                                                             Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n", 101) + "\r\n":                                                                              Unusual,
	"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n"+"TE-: b\r\n"+"Keep-Alive: 1\r\n", 30) + "\r\n":                                              Unusual,
	"GET / HTTP/1.1\r\nHost: ":                                                                                                                              Part,
	"":                                                                                                                                                      Part,
	"GE":                                                                                                                                                    Part,
	"GET  ":                                                                                                                                                 Unusual,
}

func TestPlainRequest(t *testing.T) {
	for text, want := range requestSeeds {
		if got := sameRequest(t, []byte(text)); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
		if want != Plain {
			continue
		}
		for n := range len(text) {
			if v := new(Request).Parse([]byte(text[:n])); v == Unusual || v == Plain && !strings.Contains(text[:n], "\r\n\r\n") {
				t.Errorf("%q: got %d", text[:n], v)
			}
		}
	}
}

// FuzzPlainRequest: what the fast path forwards is what the careful one
// forwards, and nothing that it refuses.
func FuzzPlainRequest(f *testing.F) {
	for text := range requestSeeds {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { sameRequest(t, text) })
}

// answered is an answer as a client understands it.
type answered struct {
	Status int
	Header http.Header
	Body   string
	Broken bool
	Close  bool
}

func read(text []byte, method string) (answered, error) {
	r := bufio.NewReader(bytes.NewReader(text))
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return answered{}, err
	}
	body, err := io.ReadAll(resp.Body)
	header := resp.Header.Clone()
	maps.Copy(header, resp.Trailer)
	for _, hop := range []string{"Keep-Alive", "Proxy-Connection", "Connection", "Proxy-Authenticate", "Proxy-Authorization", "Date"} {
		header.Del(hop)
	}
	for name, values := range header {
		slices.Sort(values)
		header[name] = values
	}
	if resp.ContentLength >= 0 && header["Content-Length"] != nil {
		header.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10)) // not 007
	}
	return answered{resp.StatusCode, header, string(body), err != nil, resp.Close}, nil
}

// fastAnswer forwards an answer that arrives in pieces. whole is false if it
// broke off.
func fastAnswer(text []byte, method string, piece int) (out []byte, whole bool, verdict Verdict) {
	var r Response
	if v := r.Parse(text, method == "HEAD"); v != Plain {
		return nil, false, v
	}
	out = r.AppendTo(nil, nil, AppendDate(nil, time.Unix(0, 0)), false)
	body := text[r.Size:]
	switch {
	case method == "HEAD" || r.Status == 204 || r.Status == 304:
		return out, true, Plain
	case !r.Chunked:
		n := int(min(r.Length, int64(len(body))))
		return append(out, body[:n]...), int64(n) == r.Length, Plain
	}
	var c Chunks
	for len(body) > 0 && !c.Done() {
		p := body[:min(piece, len(body))]
		body = body[len(p):]
		for len(p) > 0 && !c.Done() {
			data, n, err := c.Next(p)
			if err != nil {
				return out, false, Plain
			}
			if p = p[n:]; len(data) > 0 {
				out = AppendChunk(out, data)
			}
		}
	}
	if !c.Done() {
		return out, false, Plain
	}
	out, err := c.AppendEnd(out)
	return out, err == nil, Plain
}

func sameAnswer(t *testing.T, text []byte, method string) Verdict {
	t.Helper()
	var first Verdict
	for _, piece := range []int{1, 7, len(text) + 1} {
		out, whole, verdict := fastAnswer(text, method, piece)
		first = verdict
		if verdict != Plain {
			return verdict
		}
		want, err := read(text, method)
		if err != nil {
			t.Fatalf("%q is plain, net/http says %v", text, err)
		}
		if !whole {
			// Broken off here, and so for the client. net/http tolerates more
			// in chunks: what is refused of that is no harm.
			continue
		}
		got, err := read(out, method)
		if err != nil {
			t.Fatalf("%q is forwarded as %q: %v", text, out, err)
		}
		want.Close, want.Header = false, got.clean(want.Header, bytes.Contains(out, []byte("\r\nTransfer-Encoding: chunked\r\n")))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q is forwarded as %q (-want +got):\n%s", text, out, diff)
		}
	}
	return first
}

// clean leaves out of the headers of an answer the trailers that no proxy
// should pass on.
func (a answered) clean(want http.Header, trailers bool) http.Header {
	for name := range want {
		if _, ok := a.Header[name]; !ok && trailers && fieldOf([]byte(name)) != passField {
			delete(want, name)
		}
	}
	return want
}

var answerSeeds = map[string]Verdict{
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok": Plain,
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nok": Plain,
	"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n":                                                                          Plain,
	"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n":                                                                        Plain,
	"HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n":                                                                    Plain,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n":                                           Plain,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2  \r\nok\r\n3;x=\"y\"\r\nabc\r\n0\r\nX-Sum: 1\r\nA: b\r\n\r\n": Plain,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 5\r\n\r\n":                      Plain,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n":                                         Plain,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n":                                                          Plain,
	"HTTP/1.1 200 OK\r\n\r\nto the end":                                                                                   Unusual,
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n":                                          Unusual,
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok":                                                 Unusual,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n":                                                         Unusual,
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\n\r\n":                                    Unusual,
	"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n":                                                                Unusual,
	"HTTP/1.1 100 Continue\r\n\r\n":                                                                                       Unusual,
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n":                                                              Unusual,
	"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok":                                                                      Unusual,
	"HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n":                                                                    Unusual,
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\n b\r\n\r\nok":                                                        Unusual,
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nPragma: no-cache\r\n\r\nok":                                                  Unusual,
	"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok":                                                                         Unusual,
	"hello\r\n\r\n":                      Unusual,
	"HTTP/1.1 200 OK\r\nContent-Length:": Part,
}

func TestPlainResponse(t *testing.T) {
	for text, want := range answerSeeds {
		if got := sameAnswer(t, []byte(text), "GET"); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
		sameAnswer(t, []byte(text), "HEAD")
	}
}

// FuzzPlainResponse: what the fast path forwards of an answer is the same
// answer.
func FuzzPlainResponse(f *testing.F) {
	for text := range answerSeeds {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		sameAnswer(t, text, method)
	})
}

// BenchmarkForward is a whole exchange but for the reading and writing. It must
// not allocate.
func BenchmarkForward(b *testing.B) {
	request := []byte("GET /a/path?with=query HTTP/1.1\r\nHost: app.example:8443\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nAccept-Encoding: gzip\r\nCookie: session=0123456789abcdef\r\nConnection: keep-alive\r\n\r\n")
	answer := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
	var in Request
	var back Response
	var extra, out []byte
	forward := func() {
		if in.Parse(request) != Plain {
			b.Fatal("not plain")
		}
		extra = forwarder.Lines(extra[:0], client, &in)
		out = in.AppendTo(out[:0], extra)
		if back.Parse(answer, false) != Plain {
			b.Fatal("not plain")
		}
		out = back.AppendTo(out[:0], nil, nil, false)
	}
	forward()
	if n := testing.AllocsPerRun(100, forward); n != 0 {
		b.Errorf("%v allocations for each request", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		forward()
	}
}

func TestForwardAllocatesNothing(t *testing.T) {
	result := testing.Benchmark(BenchmarkForward)
	if result.N == 0 || result.AllocsPerOp() != 0 {
		t.Errorf("%d allocations for each request", result.AllocsPerOp())
	}
}
