package main

import (
	"io"
	"net"

	"golang.org/x/net/http2"
)

// greet reads an HTTP/2 client's preface and first request, and answers with the server's settings.
func greet(conn net.Conn) *http2.Framer {
	io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(conn, conn)
	f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return f
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			return f
		}
	}
}

// closeAfterSettings is a server whose connection ends while a request is in flight.
func closeAfterSettings(conn net.Conn) { greet(conn) }

// goAway is a server that says good-bye to a request that it has taken.
func goAway(conn net.Conn) {
	greet(conn).WriteGoAway(1, http2.ErrCodeInternal, []byte("good-bye"))
}
