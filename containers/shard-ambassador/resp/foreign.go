package resp

import "bytes"

// Foreign is an error: the name of the protocol that a request belongs to, since it is none of Redis'. What
// comes after it was never meant to be one, and must not be executed: a browser, or a server that was talked into a
// request, would write what it likes here.
//
// Redis itself ends a connection on POST and on Host:. What more is here has only errors for an answer in Redis, but
// the lines after it are executed there.
type Foreign string

func (f Foreign) Error() string { return "not RESP but " + string(f) }

// handshake is the first byte of a TLS record with a ClientHello; the next is 3.
const handshake = 0x16

// foreign looks at the words of an inline request.
func foreign(words [][]byte) Foreign {
	switch {
	case len(words) == 0:
		return ""
	case IsForeign(words[0]):
		return "HTTP"
	case len(words) == 3 && bytes.HasPrefix(words[2], []byte("HTTP/")):
		// A request line, of any method: but COPY and SET have three words, and may mean it.
		if cmd := Lookup(words[0]); cmd == nil || cmd.Action == Refused || !cmd.ArityOK(3) {
			return "HTTP"
		}
	case len(words) >= 5 && len(words) <= 7 && storage(words):
		return "memcached"
	}
	return ""
}

// IsForeign says that a request's name is the beginning of an HTTP request or one of its headers. Redis
// has no such commands, and never will.
func IsForeign(name []byte) bool { return is(name, "post") || is(name, "host:") }

// storage says whether a line is memcached's "set key flags exptime bytes [unique] [noreply]": the next one is data.
func storage(words [][]byte) bool {
	switch {
	case is(words[0], "set"), is(words[0], "add"), is(words[0], "replace"), is(words[0], "append"),
		is(words[0], "prepend"), is(words[0], "cas"):
	default:
		return false
	}
	for _, w := range words[2:5] {
		if _, ok := Integer(w); !ok {
			return false
		}
	}
	return true
}
