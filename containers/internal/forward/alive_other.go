//go:build !linux

package forward

import "net"

// alive cannot tell here: a request that may be sent twice finds out.
func alive(net.Conn) bool { return true }
