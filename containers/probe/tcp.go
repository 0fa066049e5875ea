package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// tcpFlags say what to do with one connection.
type tcpFlags struct {
	send      []byte
	read      int
	halfClose bool
	timeout   time.Duration
}

func runTCP(ctx context.Context, args []string, out *printer) error {
	var f tcpFlags
	fs := flag.NewFlagSet("tcp", flag.ContinueOnError)
	send := fs.String("send", "", `send this; \r \n \t \\ and \xNN as in a Go string`)
	fs.BoolVar(&f.halfClose, "half-close", false, "close the sending side after what was sent")
	fs.IntVar(&f.read, "read", 0, "read so many `bytes`")
	fs.DurationVar(&f.timeout, "timeout", 3*time.Second, "for everything")
	rest, err := parse(fs, args)
	if err != nil {
		return err
	}
	to, err := address(rest)
	if err != nil {
		return err
	}
	if f.send, err = unescape(*send); err != nil {
		return err
	}
	if f.read < 0 || f.timeout <= 0 {
		return wrong("-read and -timeout cannot be negative, nor -timeout zero")
	}
	return out.print(f.ask(ctx, to))
}

// unescape reads Go's escapes: an argument of a container cannot carry every byte.
func unescape(s string) ([]byte, error) {
	var out []byte
	for s != "" {
		if s[0] != '\\' { // a byte as it stands, a quote or a line break too
			out, s = append(out, s[0]), s[1:]
			continue
		}
		c, wide, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return nil, wrong("-send: %q: not an escape of a Go string", s[:min(len(s), 4)])
		}
		if wide {
			out = append(out, string(c)...)
		} else {
			out = append(out, byte(c))
		}
		s = rest
	}
	return out, nil
}

func (f tcpFlags) ask(ctx context.Context, to string) tcpAnswer {
	start := time.Now()
	a := tcpAnswer{Received: []byte{}}
	err := f.converse(ctx, to, &a)
	a.failure, a.Seconds = failed(err), time.Since(start).Seconds()
	return a
}

// converse connects, sends and reads; the error says where that ended.
func (f tcpFlags) converse(ctx context.Context, to string, a *tcpAnswer) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	a.Connected, a.Local, a.Remote = true, addr(conn.LocalAddr()), addr(conn.RemoteAddr())
	if _, err := conn.Write(f.send); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if f.halfClose {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return fmt.Errorf("close the sending side: %w", err)
		}
	}
	var got strings.Builder
	_, err = io.CopyN(&got, conn, int64(f.read))
	a.Received = []byte(got.String())
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read: %d of %d bytes: %w", got.Len(), f.read, err)
}
