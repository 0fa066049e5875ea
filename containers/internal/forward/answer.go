package forward

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// ErrBroken is a server that broke off in the middle of its answer.
var ErrBroken = errors.New("the server broke off")

// Answer passes a server's answer on, or any other, and closes it. It is an error
// that wraps ErrBroken if the server broke off, and another if the client did not
// take it all: then the answer was cut, so that it does not look whole.
func (x *Exchange) Answer(resp *http.Response) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return x.tunnel(resp)
	}
	defer resp.Body.Close()
	upgrade := resp.Header["Upgrade"]
	removeHopByHop(resp.Header)
	if resp.StatusCode == http.StatusUpgradeRequired && upgrade != nil && x.http1 {
		resp.Header["Upgrade"] = upgrade // RFC 9110 section 15.5.22
		resp.Header["Connection"] = []string{"Upgrade"}
	}
	if len(resp.Trailer) > 0 {
		resp.Header.Del("Content-Length") // HTTP/1 has trailers in chunks only
	}
	h := x.Header()
	for name, values := range resp.Header {
		h[name] = append(h[name], values...)
	}
	said := make(map[string]bool, len(resp.Trailer))
	for name := range resp.Trailer {
		said[name] = true
		h.Add("Trailer", name)
	}
	x.WriteHeader(resp.StatusCode)
	if err := x.copy(resp.Body, resp.ContentLength < 0); err != nil {
		x.abort = true
		return err
	}
	for name, values := range resp.Trailer {
		if !said[name] {
			// Where the head has not gone yet, it would go with a length, and without
			// trailers.
			http.NewResponseController(x.w).Flush()
			name = http.TrailerPrefix + name
		}
		for _, v := range values {
			h.Add(name, v)
		}
	}
	return nil
}

// copy sends the body. What has come does not wait here for the server's next word:
// where the body cannot tell, if it streams.
func (x *Exchange) copy(body io.Reader, streams bool) error {
	buf := largeBuffers.Get().(*[]byte)
	defer largeBuffers.Put(buf)
	waiting, _ := body.(interface{ Waiting() bool })
	flusher := http.NewResponseController(x.w)
	for {
		if waiting != nil && waiting.Waiting() || waiting == nil && streams {
			if err := flusher.Flush(); err != nil {
				return err
			}
		}
		n, err := body.Read(*buf)
		if n > 0 {
			if _, err := x.w.Write((*buf)[:n]); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && x.context.Err() != nil:
			return err // the client left, and the body with it
		case err != nil:
			return errors.Join(ErrBroken, err)
		}
	}
}

// tunnel makes one of two connections, if that is the protocol that was asked for.
func (x *Exchange) tunnel(resp *http.Response) error {
	app, ok := resp.Body.(Stream)
	asked := x.Out.Header.Get("Upgrade")
	if !ok || asked == "" || !strings.EqualFold(resp.Header.Get("Upgrade"), asked) {
		resp.Body.Close()
		x.Fail(http.StatusBadGateway, "the answer is not the upgrade that was asked for")
		return ErrBroken
	}
	conn, rw, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		app.Close()
		x.Fail(http.StatusInternalServerError, "the connection cannot be upgraded")
		return err
	}
	x.code = http.StatusSwitchingProtocols
	x.served.hijacked()
	first, _ := rw.Reader.Peek(rw.Reader.Buffered())
	first = append([]byte(nil), first...)
	removeHopByHop(resp.Header)
	delete(resp.Header, "Content-Length")
	resp.Header["Connection"], resp.Header["Upgrade"] = []string{"Upgrade"}, []string{asked}
	if x.Final != nil {
		x.Final(x.code, resp.Header)
	}
	head := append(appendFields([]byte("HTTP/1.1 101 Switching Protocols\r\n"), resp.Header), "\r\n"...)
	conn.SetDeadline(time.Time{})
	if _, err := conn.Write(head); err != nil {
		conn.Close()
		app.Close()
		return err
	}
	t := &Tunnel{Client: &prefixed{Conn: conn, first: first}, App: app, Idle: x.Engine.Limits.Tunnel}
	t.Run()
	return nil
}
