package http1

import (
	"bytes"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Forwarder tells the app who asks. Whatever a client says about itself in these
// headers is dropped, unless it is a trusted proxy, whose word is kept and
// added to.
//
// Source: RFC 7239 for Forwarded; the X- headers are nginx's proxy_set_header
// recipes and Envoy's.
type Forwarder struct {
	Trusted []netip.Prefix
	Scheme  string // of the requests that come in: "https", or "http"
}

// port is the scheme's own.
func (h *Forwarder) port() string {
	if h.Scheme == "https" {
		return "443"
	}
	return "80"
}

// Apply writes the headers for a request that came in into out, a copy of its
// own headers.
func (h *Forwarder) Apply(out http.Header, in *http.Request) {
	for name := range out {
		if Dropped(name) {
			delete(out, name)
		}
	}
	remote := RemoteAddr(in.RemoteAddr)
	port := portOf(in.Host, h.port())
	client, chain, elements := remote, "", ""
	proto, host := h.Scheme, in.Host
	if h.Trusts(remote) {
		chain = joinHeader(in.Header["X-Forwarded-For"])
		client = h.client(chain, remote)
		if prior := joinHeader(in.Header["Forwarded"]); validForwarded(prior) {
			elements = prior
		}
		proto = first(in.Header["X-Forwarded-Proto"], proto)
		host = first(in.Header["X-Forwarded-Host"], host)
		port = first(in.Header["X-Forwarded-Port"], port)
	}
	set := func(name, value string) {
		if value != "" {
			out[name] = []string{value}
		}
	}
	if remote.IsValid() {
		set("X-Forwarded-For", appended(chain, remote.String()))
		set("X-Real-Ip", client.String())
	}
	set("X-Forwarded-Proto", proto)
	set("X-Forwarded-Host", host)
	set("X-Forwarded-Port", port)
	set("Forwarded", appended(elements, h.element(remote, in.Host)))
}

// About is what the app is told of one client by the lines that Lines makes.
type About struct {
	lines   []byte // X-Forwarded-For, X-Real-Ip, X-Forwarded-Proto
	element []byte // the beginning of Forwarded
	extra   []byte
	Trusted bool // a trusted proxy
}

// About prepares the lines for a client, with extra, whole header lines, in
// each of its requests.
func (h *Forwarder) About(remote netip.Addr, extra []byte) *About {
	c := &About{extra: extra, Trusted: h.Trusts(remote)}
	if remote.IsValid() {
		c.lines = append(c.lines, "X-Forwarded-For: "+remote.String()+"\r\nX-Real-Ip: "+remote.String()+"\r\n"...)
	}
	c.lines = append(c.lines, "X-Forwarded-Proto: "+h.Scheme+"\r\n"...)
	c.element = append(c.element, h.element(remote, "")...)
	c.element = c.element[:len(c.element)-len(";proto=")-len(h.Scheme)]
	return c
}

// Lines writes what Apply would set for a plain request; not for one that is
// Forged and of a trusted proxy, which is believed: that is Apply's alone.
func (h *Forwarder) Lines(dst []byte, c *About, r *Request) []byte {
	dst = append(dst, c.lines...)
	dst = append(dst, "X-Forwarded-Host: "...)
	dst = append(dst, r.Host...)
	dst = append(dst, "\r\nX-Forwarded-Port: "...)
	i := bytes.IndexByte(r.Host, ':')
	if i >= 0 {
		dst = append(dst, r.Host[i+1:]...)
	} else {
		dst = append(dst, h.port()...)
	}
	dst = append(dst, "\r\nForwarded: "...)
	dst = append(dst, c.element...)
	dst = append(dst, ";host="...)
	if i >= 0 { // a colon is no token's, and a plain host has nothing else to quote
		dst = append(dst, '"')
		dst = append(dst, r.Host...)
		dst = append(dst, '"')
	} else {
		dst = append(dst, r.Host...)
	}
	dst = append(dst, ";proto="...)
	dst = append(dst, h.Scheme...)
	dst = append(dst, "\r\n"...)
	return append(dst, c.extra...)
}

// portOf is the port in a Host header.
func portOf(host, otherwise string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') && i < len(host)-1 {
		return host[i+1:]
	}
	return otherwise
}

// Trusts is true for the address of a trusted proxy.
func (h *Forwarder) Trusts(addr netip.Addr) bool {
	for _, p := range h.Trusted {
		if addr.IsValid() && p.Contains(addr) {
			return true
		}
	}
	return false
}

// client is the last address in the chain that no trusted proxy vouches for
// being a proxy: all before it may be invented.
func (h *Forwarder) client(chain string, remote netip.Addr) netip.Addr {
	client := remote
	for chain != "" && h.Trusts(client) {
		var last string
		if i := strings.LastIndexByte(chain, ','); i >= 0 {
			chain, last = chain[:i], chain[i+1:]
		} else {
			chain, last = "", chain
		}
		addr := parseHop(last)
		if !addr.IsValid() {
			break
		}
		client = addr
	}
	return client
}

// parseHop reads one element of X-Forwarded-For: an address, which some
// proxies write with its port.
func parseHop(text string) netip.Addr {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr.Unmap().WithZone("")
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// RemoteAddr is the address of a connection's other end, without its port. An
// IPv4 address that came in through an IPv6 socket is an IPv4 address.
func RemoteAddr(hostPort string) netip.Addr {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func joinHeader(values []string) string { return strings.Join(values, ", ") }

func appended(list, last string) string {
	if strings.TrimSpace(list) == "" {
		return last
	}
	return list + ", " + last
}

func first(values []string, otherwise string) string {
	if len(values) > 0 && strings.TrimSpace(values[0]) != "" {
		return values[0]
	}
	return otherwise
}

func (h *Forwarder) element(remote netip.Addr, host string) string {
	var b strings.Builder
	switch {
	case !remote.IsValid():
		b.WriteString("for=unknown")
	case remote.Is6():
		b.WriteString(`for="[` + remote.String() + `]"`)
	default:
		b.WriteString("for=" + remote.String())
	}
	if host != "" {
		b.WriteString(";host=" + quotedUnlessToken(host))
	}
	b.WriteString(";proto=" + h.Scheme)
	return b.String()
}

func quotedUnlessToken(s string) string {
	for i := range len(s) {
		if !isToken(s[i]) {
			return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
		}
	}
	return s
}

// validForwarded follows RFC 7239's grammar. A value that does not, an
// unclosed quote say, would swallow the element that is added to it.
func validForwarded(s string) bool {
	for {
		rest, ok := forwardedPairs(strings.TrimLeft(s, " \t"))
		if !ok {
			return false
		}
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			return true
		}
		if rest[0] != ',' {
			return false
		}
		s = rest[1:]
	}
}

// forwardedPairs reads name=value;name="value"… and returns what follows.
func forwardedPairs(s string) (rest string, ok bool) {
	for {
		n := tokenLen(s)
		if n == 0 || n == len(s) || s[n] != '=' {
			return "", false
		}
		s = s[n+1:]
		if strings.HasPrefix(s, `"`) {
			n = quotedLen(s)
		} else {
			n = tokenLen(s)
		}
		if n == 0 {
			return "", false
		}
		if s = s[n:]; s == "" || s[0] != ';' {
			return s, true
		}
		s = s[1:]
	}
}

func tokenLen(s string) int {
	for i := range len(s) {
		if !isToken(s[i]) {
			return i
		}
	}
	return len(s)
}

// quotedLen is the length of the quoted string at the start of s, 0 if it is
// not closed.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// AsIs keeps net/http's server from guessing a Content-Type for an answer whose
// app gave none: that is between the app and its client. It is for the server's
// own header, just before it is written: a ReverseProxy does not copy a key without values.
func AsIs(answer http.Header) {
	if _, ok := answer["Content-Type"]; !ok {
		answer["Content-Type"] = nil
	}
}
