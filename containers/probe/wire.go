package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"syscall"
	"time"
)

// wire is a connection that knows how its peer ended it. Net/http sometimes tells only what followed from that.
type wire struct {
	net.Conn

	mu    sync.Mutex
	ended error // io.EOF or a reset, when the peer ended it
	asked bool  // the peer wants a client certificate, and has not yet said anything since
}

// connect opens a connection.
func connect(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: conn}, nil
}

// handshake connects and makes a TLS handshake, whose errors are handshakeErrors. A client certificate is shown to
// whoever asks for one, whether or not the peer says that it knows the issuer: it shall refuse it.
func handshake(ctx context.Context, addr string, config *tls.Config) (conn *tls.Conn, asked bool, err error) {
	raw, err := connect(ctx, "tcp", addr)
	if err != nil {
		return nil, false, err
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		if len(config.Certificates) > 0 {
			return &config.Certificates[0], nil
		}
		return &tls.Certificate{}, nil
	}
	conn = tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, asked, handshakeError{fmt.Errorf("handshake with %s: %w", raw.RemoteAddr(), err)}
	}
	// In TLS 1.3 the client's side of the handshake is over before the peer has looked at the certificate
	// (RFC 8446, figure 1).
	asked = asked && conn.ConnectionState().Version == tls.VersionTLS13
	w := raw.(*wire)
	w.mu.Lock()
	w.asked = asked
	w.mu.Unlock()
	return conn, asked, nil
}

// Read notes the end.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.asked = false
	}
	if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
		w.ended = err
	}
	return n, err
}

// Write keeps quiet about a peer that hung up while its word on the client certificate is awaited: the word, an
// alert, may be there to be read, and whoever reads will meet either it or the end.
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.asked && isClosed(err) {
		return len(p), nil
	}
	return n, err
}

// cause adds to an error on a connection what only the connection knows: the alert with which a TLS peer refused a
// client certificate, or that the peer ended it.
func cause(conn net.Conn, err error) error {
	// Net/http closes a connection when it has read the end of it; what was being written then meets the close.
	bare := errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "http2: client conn could not be established")
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
		if bare || isClosed(err) && !isStream(err) { // then nobody else will want to read from it
			secure.SetReadDeadline(time.Unix(1, 0))
			if _, alert := secure.Read(make([]byte, 1)); isAlert(alert) {
				return fmt.Errorf("%w, and so: %w", alert, err) // the first one's kind counts
			}
		}
	}
	w, ok := conn.(*wire)
	if !ok {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// An answer that ends within a line of its head is "malformed".
	var malformed textproto.ProtocolError
	if w.ended != nil && (bare || errors.As(err, &malformed)) {
		return fmt.Errorf("%w: %w", err, w.ended)
	}
	return err
}
