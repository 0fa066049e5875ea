package config

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"distlab/lab/check"
)

// line is a connection to the app that stays open.
type line struct {
	net.Conn
	in *bufio.Reader
}

func dial(m *check.M) *line {
	var d net.Dialer
	conn := check.Got(d.DialContext(m.Context(), "tcp", m.Address(pod, httpPort)))
	return &line{conn, bufio.NewReader(conn)}
}

// ask asks for the app's version on this connection. An error says that it is no more.
func (l *line) ask() (v version, err error) {
	if err := l.SetDeadline(time.Now().Add(patient)); err != nil {
		return v, err
	}
	if _, err := fmt.Fprint(l, "GET /version HTTP/1.1\r\nHost: pod\r\n\r\n"); err != nil {
		return v, err
	}
	res, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	return v, json.NewDecoder(res.Body).Decode(&v)
}
