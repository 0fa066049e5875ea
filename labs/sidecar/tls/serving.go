package tls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"distlab/lab/check"
)

// sizes of bodies: none, one byte, and on each side of what proxies read at a time: a TLS record, Go's and nginx's
// buffers, 64 KiB.
var sizes = []int{0, 1, 4095, 4097, 16383, 16384, 16385, 32769, 65535, 65536, 65537, 200_000, 999_999}

// sameBytes asks for the same in the clear inside the pod and over verified HTTPS outside, and compares; and sends
// bodies that it knows, of which the app says what arrived.
func sameBytes(ways ...way) func(*check.M) check.Result {
	return func(m *check.M) check.Result {
		paths := []string{"/about", "/style.css", "/orders", "/no-such-page", "/status/503", "/bytes?n=3000000"}
		for range 5 {
			paths = append(paths, fmt.Sprintf("/orders/%d", 1+m.Rand().IntN(240)), fmt.Sprintf("/orders?page=%d", 1+m.Rand().IntN(12)))
		}
		for _, n := range sizes {
			paths = append(paths, fmt.Sprintf("/bytes?n=%d", n))
		}
		roots := x509.NewCertPool()
		m.Need(roots.AppendCertsFromPEM(m.ReadFile(sidecar, certPath)), "%s has no certificate in it", certPath)
		plain := m.HTTPEach(check.Inside(app), nil, prefixed(inside, paths)...)
		sums := map[string]bool{}
		for i, a := range plain {
			m.Need(a.Error == "", "the app itself does not answer %s: %s", paths[i], a.Error)
			sums[a.SHA256] = true
		}
		m.Need(sums[sumOf(nil)] && len(sums) > len(sizes), "the app gives %d different answers to %d questions", len(sums), len(paths))
		var as check.Ways
		for _, w := range ways {
			v := visit(m, w, roots)
			// Some at a time, so that a kept connection carries one exchange after the other, and HTTP/2 several at once.
			m.Each(len(paths), 4, func(m *check.M, i int) {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					a, err := v.ask(m.Context(), method, paths[i], nil)
					as.Way(w.name).Note(err == nil && equal(plain[i], a, method), "%s %s: %d %v, %d bytes, %v; inside %d %v, %d bytes",
						method, paths[i], a.status, a.header, len(a.body), err, plain[i].Status, plain[i].Header, plain[i].Bytes)
				}
			})
			m.Each(len(sizes), 4, func(m *check.M, i int) {
				body := alphabet(sizes[i])
				for how, r := range map[string]io.Reader{"with a length": bytes.NewReader(body), "in chunks": io.MultiReader(bytes.NewReader(body))} {
					a, err := v.ask(m.Context(), http.MethodPost, "/echo", r)
					var echo struct {
						Length int
						SHA256 string
					}
					if err == nil {
						err = json.Unmarshal(a.body, &echo)
					}
					as.Way(w.name+", POST").Note(err == nil && a.status == 200 && echo.Length == len(body) && echo.SHA256 == sumOf(body),
						"%d bytes %s: %d, %d arrived, %v", len(body), how, a.status, echo.Length, err)
				}
			})
		}
		return as.Decide()
	}
}

func prefixed(base string, paths []string) (urls []string) {
	for _, p := range paths {
		urls = append(urls, base+p)
	}
	return urls
}

// hops are headers of one hop, or of whoever gives the answer.
var hops = []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Date", "Server"}

// equal says whether an answer is the app's: status, every header that the app gave, and the body, whose hash this
// lab computes itself. Of a HEAD the headers are all there is.
func equal(plain check.HTTPAnswer, a answer, method string) bool {
	for name, values := range plain.Header {
		if !slices.Contains(hops, name) && !(name == "Content-Length" && method == http.MethodHead) && !slices.Equal(a.header[name], values) {
			return false
		}
	}
	if a.status != plain.Status {
		return false
	}
	if method == http.MethodHead {
		return len(a.body) == 0
	}
	return int64(len(a.body)) == plain.Bytes && sumOf(a.body) == plain.SHA256
}

// open are the ports that a neighbour may reach: TLS, and the sidecar's admin port.
var open = []int{httpsPort, adminPort}

// plaintextClosed asks the kernel what listens in the pod, and knocks at all of it from a neighbour. The app must listen,
// and the pod be reachable from where it knocks: else a refusal would say nothing. What is open for TLS must not answer
// in the clear.
func plaintextClosed(m *check.M) check.Result {
	var ports []string
	for _, addr := range m.Sockets(app) {
		_, port, err := net.SplitHostPort(addr)
		check.Must(err)
		ports = append(ports, port)
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	listening := slices.Clone(ports)
	m.Need(slices.Contains(ports, "8080"), "the app does not listen in the pod: %q", ports)
	ports = slices.DeleteFunc(ports, func(port string) bool { return slices.Contains(open, atoi(port)) })
	var as check.Ways
	for _, port := range ports {
		as.Way("port " + port) // in order, whoever answers first
	}
	m.Each(len(ports), 4, func(m *check.M, i int) {
		a := m.TCP(check.Outside, net.JoinHostPort(pod, ports[i]))
		m.Need(a.Connected || a.ErrorKind == check.Refused, "port %s neither accepted nor refused: %s", ports[i], a.Error)
		as.Way("port "+ports[i]).Note(!a.Connected, "it accepted")
	})
	clear := m.HTTP(check.Outside, fmt.Sprintf("http://%s:%d/about", pod, httpsPort))
	m.Need(clear.ErrorKind != check.Refused && clear.ErrorKind != check.Unreachable, "the TLS port does not accept: %s", clear.Error)
	as.Way("HTTP in the clear to the TLS port").Note(clear.Status != http.StatusOK, "it answered %d", clear.Status)
	return as.Decide().Because("in the pod listen %q", listening)
}

func atoi(port string) (n int) {
	fmt.Sscan(port, &n)
	return n
}

// forgery is what a client claims of itself to look like another.
const forgery = "203.0.113.66"

var forged = map[string]string{
	"X-Forwarded-For":   forgery,
	"X_Forwarded_For":   forgery, // which some apps take for the same
	"X-Real-IP":         forgery,
	"True-Client-IP":    forgery,
	"Forwarded":         "for=" + forgery + ";proto=http;host=" + forgery,
	"X-Forwarded-Host":  forgery,
	"X-Forwarded-Proto": "gopher-" + forgery,
}

// forwarded sends forged headers and reads what the app received: from a neighbour, whose address is known, and on
// connections that go on after the first request. The same request to the app itself shows first that forged headers
// would arrive if nobody dropped them.
func forwarded(m *check.M) check.Result {
	flags := []string{"-insecure"}
	var headers []string
	for _, name := range slices.Sorted(maps.Keys(forged)) {
		flags = append(flags, "-header", name+": "+forged[name])
		headers = append(headers, name, forged[name])
	}
	direct := m.HTTP(check.Inside(app), append(slices.Clone(flags), inside+"/echo")...)
	if got := carrying(received(m, direct.Body), forgery); len(got) != len(forged) {
		m.Unknown("sent to the app itself, only %v arrived of the forged headers", got)
	}
	var as check.Ways
	note := func(w *check.Tally, headers map[string][]string, client string) {
		told := strings.Join(headers["X-Forwarded-For"], ",") + " " + strings.Join(headers["X-Forwarded-Proto"], ",")
		passed := carrying(headers, forgery)
		w.Note(len(passed) == 0 && told == client+" https", "told %q of %s, passed %v", told, client, passed)
	}
	neighbours := map[string][]string{
		"a neighbour, HTTP/1.1": {"-http1"}, "a neighbour, HTTP/2": {"-http2"}, "a neighbour's POST": {"-http1", "-data", "x"},
	}
	names := slices.Sorted(maps.Keys(neighbours))
	m.Each(len(names), 3, func(m *check.M, i int) {
		a := m.HTTP(check.Outside, slices.Concat(flags, neighbours[names[i]], []string{outside + "/echo"})...)
		client, _, err := net.SplitHostPort(a.Local)
		m.Need(err == nil && a.Status == http.StatusOK, "%s: %d %s", names[i], a.Status, a.Error)
		note(as.Way(names[i]), received(m, a.Body), client)
	})
	for _, w := range []way{kept, second} {
		v, client := visit(m, w, nil), ""
		for i := range 10 {
			a, err := v.ask(m.Context(), []string{http.MethodGet, http.MethodPost}[i%2], "/echo", nil, headers...)
			check.Must(err)
			got := received(m, a.body)
			if client == "" { // this machine's address as the pod sees it: an address, and one and the same
				client = strings.Join(got["X-Forwarded-For"], ",")
				m.Need(net.ParseIP(client) != nil || strings.Contains(client, forgery), "the first request is said to be from %q", client)
			}
			note(as.Way("the "+w.name+" connection goes on"), got, client)
		}
	}
	return as.Decide()
}

func received(m *check.M, body []byte) map[string][]string {
	var echo struct{ Headers map[string][]string }
	err := json.Unmarshal(body, &echo)
	m.Need(err == nil, "the app's echo is %.100q: %v", body, err)
	return echo.Headers
}

// carrying names the headers in which a text appears.
func carrying(headers map[string][]string, text string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if strings.Contains(strings.Join(headers[name], ","), text) {
			names = append(names, name)
		}
	}
	return names
}

// modernTLS offers one version at a time, in each way in which a client may say more than that.
func modernTLS(m *check.M) check.Result {
	var as check.Ways
	for _, h := range []hello{
		{name: "with SNI and ALPN", sni: "localhost", alpn: []string{"h2", "http/1.1"}},
		{name: "without ALPN", sni: "localhost"},
		{name: "with ALPN, HTTP/1.1 alone", sni: "localhost", alpn: []string{"http/1.1"}},
		{name: "without SNI", alpn: []string{"http/1.1"}},
		{name: "without either"},
	} {
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			h.version = version
			state, err := h.shake(m.Context(), m)
			m.Need(err == nil || alerted(err), "%s, %s: neither a handshake nor a refusal: %v", h.name, tls.VersionName(version), err)
			modern := version >= tls.VersionTLS12
			as.Way(h.name).Note((err == nil) == modern && (err != nil || state.Version == version), "%s: %s, %v",
				tls.VersionName(version), tls.VersionName(state.Version), err)
		}
	}
	return as.Decide()
}
