package http1

import "net/netip"

// Client is who asks, by a request's other end and its X-Forwarded-For: that
// of a trusted proxy is believed as far as Apply believes it.
func (h *Forwarder) Client(remoteAddr string, forwardedFor []string) netip.Addr {
	remote := RemoteAddr(remoteAddr)
	if !h.Trusts(remote) {
		return remote
	}
	return h.client(joinHeader(forwardedFor), remote)
}
