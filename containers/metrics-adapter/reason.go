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

	"distlab/containers/internal/dial"
	"distlab/containers/internal/resp"
)

// errProtocol is an answer that is not of the protocol.
var errProtocol = errors.New("not understood")

// The reasons: a short list, since they are values of a label.
const (
	reasonTimeout    = "timeout"
	reasonRefused    = "refused"
	reasonName       = "name"
	reasonLogin      = "login"
	reasonPermission = "permission"
	reasonTLS        = "tls"
	reasonProtocol   = "protocol"
	reasonServer     = "server"   // it answered with an error
	reasonLocal      = "local"    // this machine has no descriptor, memory or port left: nobody was asked
	reasonNetwork    = "network"  // anything else of the way there
	reasonPassword   = "password" // its file cannot be read
)

// reasonOf is why a target did not answer, in a word.
func reasonOf(err error) string {
	var (
		server resp.ServerError
		odd    *resp.ProtocolError
		name   *net.DNSError
		status statusError
		path   *os.PathError
		record tls.RecordHeaderError
		alert  tls.AlertError
		cert   *tls.CertificateVerificationError
		root   x509.UnknownAuthorityError
	)
	switch {
	case dial.Local(err):
		return reasonLocal
	case errors.As(err, &server):
		switch word, _, _ := strings.Cut(string(server), " "); word {
		case "NOAUTH", "WRONGPASS":
			return reasonLogin
		case "NOPERM":
			return reasonPermission
		}
		if strings.HasPrefix(string(server), "ERR AUTH ") || strings.HasPrefix(string(server), "ERR Client sent AUTH") {
			return reasonLogin
		}
		return reasonServer
	case errors.As(err, &status):
		return reasonServer
	case errors.As(err, &path):
		return reasonPassword
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return reasonTimeout
	case errors.As(err, &name):
		return reasonName
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &cert), errors.As(err, &root):
		return reasonTLS
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT): // of a socket
		return reasonRefused
	case errors.As(err, &odd), errors.Is(err, errProtocol), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return reasonProtocol
	}
	return reasonNetwork
}
