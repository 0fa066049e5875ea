package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// Errors of a server that mean something here. Source: MySQL Server Error Message Reference, which MariaDB shares.
const (
	syntaxError     = 1064
	unknownVariable = 1193
)

// meanings of a server's errors in words of our own. The server's are not shown: they quote users, hosts, queries and
// the values in them to whoever may ask for the health.
var meanings = map[uint16]string{
	1021: "the disk is full",
	1030: "the storage engine reports an error",
	1040: "too many connections",
	1044: "access to the database denied",
	1045: "login refused: wrong user or password",
	1047: "the node is not part of its cluster, or does not know the command", // Galera's "not yet prepared node", too
	1049: "no such database",
	1053: "the server is shutting down",
	1064: "the query is not valid SQL",
	1105: "an unknown error",
	1114: "the table is full",
	1129: "this host is blocked after too many errors",
	1130: "this host may not connect",
	1142: "the user may not do what the query does",
	1143: "the user may not do what the query does",
	1146: "the query's table does not exist",
	1158: "the server lost the connection",
	1194: "the query's table is marked as crashed",
	1203: "the user has too many connections",
	1205: "the query waited too long for a lock",
	1226: "the user has used up a limit",
	1227: "the user lacks a privilege",
	1251: "login refused: the server wants a way that is not known here",
	1290: "the server is read-only",
	1317: "the query was interrupted",
	1698: "login refused: this user logs in another way than by password", // unix_socket, auth_socket
	1792: "the transaction is read-only",
	1820: "the password must be changed first",
	1836: "the server is read-only",
	1862: "the password has expired",
	1969: "the query took too long",
	3024: "the query took too long",
	3032: "the server is offline",
	3118: "the account is locked",
	3159: "the server wants TLS",
	4151: "the account is locked",
}

// number is the server's error number, 0 where it is not one of the server's.
func number(err error) uint16 {
	var reported *mysql.MySQLError
	if errors.As(err, &reported) {
		return reported.Number
	}
	return 0
}

// reason is an error whose text may be shown to anybody. kind is for metrics.
type reason struct{ kind, text string }

func (r reason) Error() string { return r.text }

// plain says in words of our own what went wrong. Whatever is not known by its type is not quoted.
func plain(err error) error {
	if err == nil {
		return nil
	}
	if n := number(err); n != 0 {
		what := meanings[n]
		if what == "" {
			what = "the server reports an error"
		}
		return reason{"server", fmt.Sprintf("%s (error %d)", what, n)}
	}
	var lag lagError
	if errors.As(err, &lag) {
		return reason{"lag", lag.Error()}
	}
	for _, known := range kinds {
		if known.is(err) {
			return reason{known.kind, known.text}
		}
	}
	return reason{"other", "the connection failed"}
}

// kinds of errors that are not the server's own; the first that fits counts.
var kinds = []struct {
	kind, text string
	is         func(error) bool
}{
	{"answer", errNoRow.Error(), same(errNoRow)},
	{"answer", errFalse.Error(), same(errFalse)},
	{"answer", errUnclear.Error(), same(errUnclear)},
	{"answer", errNoSwitch.Error(), same(errNoSwitch)},
	{"read-only", errReadOnly.Error(), same(errReadOnly)},
	{"protocol", errPanic.Error(), same(errPanic)},
	{"timeout", "no answer in time", func(err error) bool {
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
	}},
	{"refused", "connection refused", same(syscall.ECONNREFUSED)},
	{"unreachable", "no such host", as[*net.DNSError]},
	{"unreachable", "no such socket", same(os.ErrNotExist)},
	{"unreachable", "host unreachable", func(err error) bool {
		return errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
	}},
	{"tls", "tls: the server does not speak it", same(mysql.ErrNoTLS)},
	{"tls", "tls: the certificate is not from a trusted authority", as[x509.UnknownAuthorityError]},
	{"tls", "tls: the certificate is for another name", as[x509.HostnameError]},
	{"tls", "tls: the certificate is not valid", func(err error) bool {
		return as[x509.CertificateInvalidError](err) || as[*tls.CertificateVerificationError](err)
	}},
	{"tls", "tls: the server refuses the handshake", func(err error) bool {
		var op *net.OpError // an alert has no exported type
		return errors.As(err, &op) && op.Op == "remote error"
	}},
	{"tls", "tls: the handshake failed", as[tls.RecordHeaderError]},
	{"login", "login refused: the server wants a way that is not allowed", func(err error) bool {
		return errors.Is(err, mysql.ErrCleartextPassword) || errors.Is(err, mysql.ErrNativePassword) ||
			errors.Is(err, mysql.ErrOldPassword) || errors.Is(err, mysql.ErrUnknownPlugin)
	}},
	{"protocol", errPanic.Error(), func(err error) bool {
		return errors.Is(err, mysql.ErrMalformPkt) || errors.Is(err, mysql.ErrPktSync) || errors.Is(err, mysql.ErrPktSyncMul) ||
			errors.Is(err, mysql.ErrOldProtocol) || errors.Is(err, mysql.ErrPktTooLarge)
	}},
	{"closed", "the server closed the connection", func(err error) bool {
		return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
			errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
	}},
}

func same(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[E error](err error) bool { var target E; return errors.As(err, &target) }
