package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// headers tells the app who asks. Whatever a client says about itself in these
// headers is dropped, unless it is a trusted proxy, whose word is kept and
// added to.
//
// Source: RFC 7239 for Forwarded; the X- headers are nginx's proxy_set_header
// recipes and Envoy's.
type headers struct {
	trusted []netip.Prefix
}

// apply writes the headers for a request that came in into out, a copy of its
// own headers.
func (h *headers) apply(out http.Header, in *http.Request) {
	for name := range out {
		if dropped(name) {
			delete(out, name)
		}
	}
	remote := remoteAddr(in.RemoteAddr)
	port := "443"
	if i := strings.LastIndexByte(in.Host, ':'); i > strings.LastIndexByte(in.Host, ']') {
		port = in.Host[i+1:]
	}
	client, chain, elements := remote, "", ""
	proto, host := "https", in.Host
	if h.trusts(remote) {
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
	set("Forwarded", appended(elements, forwardedElement(remote, in.Host)))
	if p, ok := in.Context().Value(peerKey{}).(*peer); ok {
		p.apply(set)
	}
}

func (h *headers) trusts(addr netip.Addr) bool {
	for _, p := range h.trusted {
		if addr.IsValid() && p.Contains(addr) {
			return true
		}
	}
	return false
}

// client is the last address in the chain that no trusted proxy vouches for
// being a proxy: all before it may be invented.
func (h *headers) client(chain string, remote netip.Addr) netip.Addr {
	client := remote
	for chain != "" && h.trusts(client) {
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

// remoteAddr is the address of a connection's other end, without its port. An
// IPv4 address that came in through an IPv6 socket is an IPv4 address.
func remoteAddr(hostPort string) netip.Addr {
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

func forwardedElement(remote netip.Addr, host string) string {
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
	b.WriteString(";proto=https")
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
