package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/net/http2"
)

// errorKind says how a request failed, in the terms of the wire.
type errorKind string

const (
	refused     errorKind = "refused"     // nothing listens there
	unreachable errorKind = "unreachable" // no route, or the name has no address
	timedOut    errorKind = "timeout"     // no whole answer in time
	tlsFailed   errorKind = "tls"         // the handshake or the certificate was refused, by either side
	closed      errorKind = "closed"      // the connection ended before the answer was whole
	otherKind   errorKind = "other"
)

// failure is how a question was not answered; it is empty when it was.
type failure struct {
	Error     string    `json:"error"`
	ErrorKind errorKind `json:"error_kind"`
}

func failed(err error) failure {
	if err == nil {
		return failure{}
	}
	return failure{Error: err.Error(), ErrorKind: kindOf(err)}
}

// handshakeError is any error from within a handshake; crypto/tls gives many of them no type of their own.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// errInterrupted is why a request has no answer after the probe was told to end.
var errInterrupted = errors.New("interrupted before the answer")

// kindOf names an error. The order matters: a handshake may time out or find the connection closed, and a dial to
// several addresses carries the last one's error.
func kindOf(err error) errorKind {
	var dns *net.DNSError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errInterrupted):
		return otherKind
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return unreachable
	case isTimeout(err):
		return timedOut
	case errors.As(err, &dns):
		return unreachable
	case isAlert(err):
		return tlsFailed
	case isClosed(err):
		return closed
	case isTLS(err):
		return tlsFailed
	}
	return otherKind
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &ne) && ne.Timeout()
}

func isTLS(err error) bool {
	var (
		handshake handshakeError
		record    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	return errors.As(err, &handshake) || errors.As(err, &record) || errors.As(err, &verify) ||
		errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// isAlert tells a peer's TLS alert, which crypto/tls returns as an OpError of this name around a type that it keeps
// to itself. A TLS 1.3 peer refuses a client certificate so, after the handshake.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// isStream tells an error that ends one request of an HTTP/2 connection and not the others. Net/http's own copy of
// the type converts itself to this one.
func isStream(err error) bool {
	var stream http2.StreamError
	return errors.As(err, &stream)
}

func isClosed(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED) || isStream(err) {
		return true
	}
	// These have no type that can be named from outside net/http.
	for _, text := range []string{
		"http: server closed idle connection",
		"http2: client connection lost",
		"http2: server sent GOAWAY",
		"http2: Transport received Server's graceful shutdown GOAWAY",
	} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
