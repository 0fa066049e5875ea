package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"distlab/containers/internal/follow"
)

// Syslog sends lines as RFC 5424 messages over TCP, each with its length before it (RFC 6587, 3.4.1), so that a line may have
// any bytes. The protocol has no acknowledgement. A batch counts as sent when the peer's kernel has it all and the connection
// stands: what its program has not read when it dies is lost, as with every sender of syslog over TCP.
type Syslog struct {
	Addr     string
	TLS      *tls.Config // nil: in the clear
	Host     string
	Service  string
	Priority int

	conn net.Conn
	gone *atomic.Bool // the peer closed conn
	text []byte

	message       []byte // up to the line
	source, param string // the last source, and how a message has it
}

// Send writes the records and waits until the peer's kernel has acknowledged them.
func (s *Syslog) Send(ctx context.Context, records []follow.Record) error {
	err := s.send(ctx, records)
	if err != nil {
		s.Close()
	}
	return err
}

func (s *Syslog) send(ctx context.Context, records []follow.Record) error {
	if s.conn != nil && s.gone.Load() {
		s.Close() // without this look the first batch after a restart of the peer would vanish
	}
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return err
		}
	}
	if at, ok := ctx.Deadline(); ok {
		s.conn.SetWriteDeadline(at)
	}
	head := s.head(time.Now())
	s.text = s.text[:0]
	for i := range records {
		s.text = s.append(s.text, &records[i], head)
	}
	if _, err := s.conn.Write(s.text); err != nil {
		return err
	}
	return s.delivered(ctx)
}

func (s *Syslog) dial(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	if s.TLS != nil {
		secure := tls.Client(conn, s.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return err
		}
		s.conn = secure
	} else {
		s.conn = conn
	}
	gone := &atomic.Bool{}
	s.gone = gone
	// A receiver of syslog says nothing: whatever can be read is the end.
	go func(c net.Conn) {
		io.Copy(io.Discard, bufio.NewReaderSize(c, 1024))
		gone.Store(true)
	}(s.conn)
	return nil
}

// delivered waits until nothing is left in this kernel's send queue.
func (s *Syslog) delivered(ctx context.Context) error {
	raw := s.conn
	if secure, is := raw.(*tls.Conn); is {
		raw = secure.NetConn()
	}
	pause := 200 * time.Microsecond
	for {
		left, err := unsent(raw.(*net.TCPConn))
		switch {
		case err != nil:
			return err
		case s.gone.Load():
			return errors.New("the receiver closed the connection")
		case left == 0:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d bytes not taken: %w", left, ctx.Err())
		case <-time.After(pause):
			pause = min(2*pause, 10*time.Millisecond)
		}
	}
}

// structured data of the example number that RFC 5612 sets aside: where a line is from.
const structuredID = "line@32473"

// append adds one message with its length. head is what comes before the stream, the same for all of a batch.
func (s *Syslog) append(b []byte, r *follow.Record, head string) []byte {
	if s.source != r.Source || s.param == "" {
		s.source, s.param = r.Source, `" source="`+escapeParam(r.Source)
	}
	s.message = append(append(s.message[:0], head...), r.Stream...)
	s.message = append(s.message, `" offset="`...)
	s.message = strconv.AppendInt(s.message, r.Offset, 10)
	s.message = append(s.message, s.param...)
	if r.Truncated {
		s.message = append(s.message, `" truncated="true`...)
	}
	if r.Partial {
		s.message = append(s.message, `" partial="true`...)
	}
	s.message = append(s.message, `"] `...)
	b = strconv.AppendInt(b, int64(len(s.message)+len(r.Text)), 10)
	b = append(append(b, ' '), s.message...)
	return append(b, r.Text...)
}

// head is the header of all messages of a batch, and what follows up to the stream.
func (s *Syslog) head(now time.Time) string {
	return fmt.Sprintf("<%d>1 %s %s %s - - [%s stream=\"", s.Priority, now.UTC().Format("2006-01-02T15:04:05.000000Z"),
		nilValue(s.Host, 255), nilValue(s.Service, 48), structuredID)
}

// nilValue is a field of the header: visible ASCII, or a dash.
func nilValue(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < 33 || r > 126 {
			return '_'
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), most)]
}

// escapeParam escapes a parameter's value (RFC 5424, 6.3.3).
func escapeParam(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(strings.ToValidUTF8(text, "\ufffd"))
}

// Close ends the connection.
func (s *Syslog) Close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
