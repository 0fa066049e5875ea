package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

// transport speaks HTTP as the flags say. It knows no proxy, keeps the bytes as they come, and makes handshakes
// itself, so that an error from within one can be told from others.
func (f *requestFlags) transport() *http.Transport {
	t := &http.Transport{DisableCompression: true, DialContext: connect, Protocols: new(http.Protocols)}
	config := f.config.Clone()
	switch {
	case f.http1:
		t.Protocols.SetHTTP1(true)
		config.NextProtos = []string{"http/1.1"}
	case f.http2:
		t.Protocols.SetHTTP2(true)
		t.Protocols.SetUnencryptedHTTP2(true)
		config.NextProtos = []string{"h2"}
	default:
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, _, err := handshake(ctx, addr, config)
		if err == nil && f.http2 && conn.ConnectionState().NegotiatedProtocol != "h2" {
			conn.Close()
			return nil, handshakeError{errors.New("the peer does not offer HTTP/2")}
		}
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	return t
}

// client follows no redirect unless asked.
func (f *requestFlags) client(rt http.RoundTripper, follow bool) *http.Client {
	c := &http.Client{Transport: rt, Timeout: f.timeout}
	if !follow {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return c
}

// shot follows one request over the wire: when it was due, what of it was written, how it ended.
type shot struct {
	mu       sync.Mutex
	due      time.Time
	writes   int  // times the request was written in full: more than once when the client sent it again
	acted    bool // it was written in full where the peer may have acted on it
	http2    bool // the connection it was last given speaks HTTP/2
	whole    bool // the answer's last byte was read
	err      error
	status   int
	conn     net.Conn
	local    net.Addr
	remote   net.Addr
	taken    time.Duration // from due to the end, whichever it was
	finished bool
}

// trace notes in the shot what happens to the request; wrote, if there is one, is told when it was written.
func (s *shot) trace(ctx context.Context, wrote func()) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			// Over HTTP/2 the client tries again only what the peer said it has not touched (RFC 9113, section 8.7);
			// over HTTP/1.1 nobody can tell.
			if s.http2 {
				s.acted = false
			}
		},
		GotConn: func(info httptrace.GotConnInfo) {
			s.mu.Lock()
			defer s.mu.Unlock()
			secure, ok := info.Conn.(*tls.Conn)
			s.http2 = ok && secure.ConnectionState().NegotiatedProtocol == "h2"
			s.conn, s.local, s.remote = info.Conn, info.Conn.LocalAddr(), info.Conn.RemoteAddr()
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				return
			}
			s.mu.Lock()
			s.writes++
			s.acted = true
			first := s.writes == 1
			s.mu.Unlock()
			if first && wrote != nil {
				wrote()
			}
		},
	})
}

// end notes how the request ended, and returns it. The first end counts.
func (s *shot) end(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return s.err
	}
	s.finished = true
	s.err, s.whole = err, err == nil
	s.taken = time.Since(s.due)
	if err != nil {
		s.err = cause(s.conn, err)
	}
	return s.err
}

// do sends a request and reads its whole answer into w.
func (s *shot) do(client *http.Client, req *http.Request, w io.Writer) (*http.Response, int64, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, 0, s.end(err)
	}
	defer res.Body.Close()
	s.mu.Lock()
	s.status = res.StatusCode
	s.mu.Unlock()
	n, err := io.Copy(w, res.Body)
	if err != nil {
		err = fmt.Errorf("read the answer's body after %d bytes: %w", n, err)
	}
	return res, n, s.end(err)
}

func addr(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// plain takes net/http's quotation of the URL off an error: the caller knows what it asked for.
func plain(err error) string {
	var quoted *url.Error
	if errors.As(err, &quoted) {
		err = quoted.Err
	}
	return err.Error()
}
