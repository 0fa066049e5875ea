// Package http1 is what a proxy needs to know of HTTP/1 besides net/http: which
// requests two readers could delimit differently, which headers a client may
// not send on, and what the app is told of the client.
//
// net/http is made to serve, not to stand in front of somebody else's parser:
// it tolerates and tidies up what another server may read in another way. So a
// Guard reads along in front of it, Refuse looks at what it has parsed, and
// Forwarder says who asks.
//
//	guard := &http1.Guard{Conn: conn, Refused: func(reason http1.FramingError) { … }}
//	// serve guard; in the handler:
//	if no := http1.Refuse(r); no != nil { … }
//	forwarder.Apply(out.Header, r)
//
// Source: RFC 9110, RFC 9112; "HTTP Desync Attacks: Request Smuggling Reborn"
// (PortSwigger, 2019) for what goes wrong otherwise.
package http1
