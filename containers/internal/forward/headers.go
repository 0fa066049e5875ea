package forward

import (
	"iter"
	"net/http"
	"net/textproto"
	"strings"

	"distlab/containers/internal/http1"
)

// hopByHop are for one connection. Whoever passes a message on leaves them out,
// with those that Connection names.
//
// Source: RFC 9110 section 7.6.1; the first ones that RFC 2616 listed, too.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// removeHopByHop leaves the header of the next hop.
func removeHopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range splitList(list) {
			h.Del(name)
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// splitList gives the elements of a comma-separated header.
func splitList(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(list, ",") {
			if part = textproto.TrimString(part); part != "" && !yield(part) {
				return
			}
		}
	}
}

// mayTrail is whether a trailer may be passed on: not if it says how a message is
// delimited, or who asks.
func mayTrail(name string) bool { return http1.MayTrail(name) && !http1.Dropped(name) }

// target is what the request asks for, as it came: a path with its query, or
// "*". Of an absolute URI it is what follows the authority.
func target(r *http.Request) string {
	t := r.RequestURI
	if t == "" || t[0] == '/' || t == "*" {
		return t
	}
	_, rest, _ := strings.Cut(t, "://")
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '?':
		return "/" + rest[i:]
	}
	return rest[i:]
}

// outgoing makes the request that servers see of the one that came in. What is for
// one hop is out; who asks is in.
func (e *Engine) outgoing(x *Exchange) *http.Request {
	in := x.Request
	out := in.WithContext(x.context)
	out.Header = in.Header.Clone()
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	upgrade := ""
	if tokenIn(in.Header["Connection"], "upgrade") {
		upgrade = e.upgradable(in)
	}
	trailers := tokenIn(in.Header["Te"], "trailers")
	removeHopByHop(out.Header)
	if trailers {
		out.Header["Te"] = []string{"trailers"} // gRPC asks for it
	}
	if upgrade != "" {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
	if !in.ProtoAtLeast(1, 1) || x.body == nil {
		delete(out.Header, "Expect") // RFC 9110 section 10.1.1
	}
	if values := out.Header["User-Agent"]; len(values) > 0 && values[0] == "" {
		delete(out.Header, "User-Agent")
	}
	delete(out.Header, "Host")
	e.Forwarder.Apply(out.Header, in)
	u := *in.URL
	u.Scheme, u.Host, u.User = "http", "", nil
	out.URL, out.RequestURI, out.Close, out.GetBody = &u, "", false, nil
	SetTarget(out, x.Target)
	out.Trailer = nil
	if out.Body = http.NoBody; x.body == nil {
		return out
	}
	if len(in.Trailer) > 0 || in.ContentLength < 0 {
		out.Trailer = x.body.passTrailers(in)
	}
	if len(out.Trailer) > 0 {
		out.ContentLength = -1 // HTTP/1 has trailers in chunks only
	}
	return out
}

// upgradable is the protocol that a request may be upgraded to, "" if to none: the
// server may ignore an upgrade. One to h2c would be a way around everything
// that is checked here, and the body of a request that becomes a tunnel would be
// nobody's.
func (e *Engine) upgradable(r *http.Request) string {
	protocols := r.Header["Upgrade"]
	if len(protocols) != 1 || r.ProtoMajor != 1 || !r.ProtoAtLeast(1, 1) || r.Body != nil && r.Body != http.NoBody {
		return ""
	}
	for _, u := range e.Upgrades {
		if strings.EqualFold(u, protocols[0]) {
			return protocols[0]
		}
	}
	return ""
}
