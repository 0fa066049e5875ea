package http1

import "net"

// Early is the answer to a request that was sent by somebody else: what was read
// of it, and where the rest comes from. It lets the careful path finish what a fast
// path began, in the middle of the request's body if need be.
type Early struct {
	Begun  []byte
	Conn   net.Conn // nil: nothing follows but Err
	Err    error
	Unsent []byte // of the request: before the rest of its body
	Deaf   bool   // the server takes no more of it
}

// Close is for an answer that nobody came for.
func (e *Early) Close() {
	if e.Conn != nil {
		e.Conn.Close()
	}
}
