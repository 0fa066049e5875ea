package http1

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// Allow is what an answer 405 says is allowed (RFC 9110 section 15.5.6): all but
// what Refuse refuses, of which these are the known ones.
const Allow = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

// Refusal is a request that is answered here.
type Refusal struct {
	Status int
	Reason string // a label
	Text   string
}

// Refuse finds what net/http lets through and what an app behind HTTP/1 could
// take for something else, above all in what came by HTTP/2, where no byte is
// special.
func Refuse(r *http.Request) *Refusal {
	bad := func(reason, text string) *Refusal { return &Refusal{http.StatusBadRequest, reason, text} }
	switch {
	case r.Method == http.MethodConnect, r.Method == http.MethodTrace:
		return &Refusal{http.StatusMethodNotAllowed, "method", "this is not a proxy for " + r.Method}
	case r.Method == "" || tokenLen(r.Method) != len(r.Method):
		return bad("method", "the method is malformed")
	case !validTarget(r):
		return bad("target", "the request target is malformed")
	case !validHost(r):
		return bad("host", "the host is malformed")
	case r.ProtoMajor == 2 && !validLength(r):
		return bad("length", "Content-Length contradicts the body")
	}
	return nil
}

// validTarget wants origin-form, absolute-form for http and https, or "*" for
// OPTIONS. In HTTP/2 a space would end the target of the HTTP/1 request line
// that is made of it.
func validTarget(r *http.Request) bool {
	for i := range len(r.RequestURI) {
		// A fragment is not part of a target (RFC 9112 section 3.2); who reads on
		// behind it sees another path.
		if c := r.RequestURI[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	u := r.URL
	switch {
	case u.Opaque != "" || u.User != nil || u.Fragment != "":
		return false
	case u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https":
		return false
	case u.Scheme != "":
		return u.Host != "" && (u.Path == "" || u.Path[0] == '/')
	case u.Path == "*":
		return r.Method == http.MethodOptions && u.RawQuery == ""
	}
	return strings.HasPrefix(u.Path, "/")
}

// validHost allows a name or an address, and a port. net/http allows any
// character that some URI may have.
func validHost(r *http.Request) bool {
	if other, ok := r.Header["Host"]; ok && (len(other) != 1 || !strings.EqualFold(other[0], r.Host)) {
		return false // beside :authority; HTTP/1's own is not in Header
	}
	if r.Host == "" {
		return !r.ProtoAtLeast(1, 1)
	}
	host, port := r.Host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
		// A colon without a port is the scheme's own (RFC 3986 section 3.2.3).
		if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0 || len(port) > 5) {
			return false
		}
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	for i := range len(host) {
		if c := fold(host[i]); c == '-' && !strings.Contains("-._~", host[i:i+1]) {
			return false
		}
	}
	return host != "" && len(host) <= 255
}

// validLength is for HTTP/2, whose frames delimit the body. net/http takes a
// Content-Length that it cannot read for 0, and drops the body.
func validLength(r *http.Request) bool {
	values, ok := r.Header["Content-Length"]
	if !ok {
		return true
	}
	if len(values) != 1 || values[0] == "" || len(values[0]) > 18 || strings.Trim(values[0], "0123456789") != "" {
		return false
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	return err == nil && n == r.ContentLength
}
