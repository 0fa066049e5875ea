package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Input is one place that lines come from, and what is known of them: [ENVELOPE+][FORMAT=]WHERE.
type Input struct {
	Envelope string // docker, cri or none
	Format   string // auto or one of formats
	Kind     string // stdin, file, tcp or unix
	Where    string
}

// UnmarshalText reads the form of the setting.
func (in *Input) UnmarshalText(text []byte) error {
	s := string(text)
	in.Format, in.Kind = "auto", "file"
	if how, where, ok := strings.Cut(s, "="); ok && !strings.ContainsAny(how, "/.:*") {
		s = where
		envelope, format, both := strings.Cut(how, "+")
		if !both {
			envelope, format = "", how
		}
		if envelope != "" && envelope != "docker" && envelope != "cri" {
			return fmt.Errorf("no envelope %q: docker and cri are", envelope)
		}
		if _, known := formats[format]; !known && format != "auto" && format != "pattern" {
			return fmt.Errorf("no format %q: auto, pattern, %s are", format, strings.Join(detected, ", "))
		}
		in.Envelope, in.Format = envelope, format
	}
	switch scheme, rest, ok := strings.Cut(s, "://"); {
	case s == "-":
		in.Kind = "stdin"
	case ok && scheme == "tcp":
		if _, _, err := net.SplitHostPort(rest); err != nil {
			return errors.New("not tcp://HOST:PORT")
		}
		in.Kind, in.Where = "tcp", rest
	case ok && scheme == "unix" && strings.HasPrefix(rest, "/"):
		in.Kind, in.Where = "unix", rest
	case strings.HasPrefix(s, "/"):
		in.Where = s
		return (*pattern)(&in.Where).check()
	default:
		_, want := in.SettingType()
		return errors.New("not " + want)
	}
	return nil
}

// SettingType names the type in the documentation.
func (*Input) SettingType() (name, want string) {
	return "input", "an input like -, access=/logs/*.log, docker+json=/logs/a.log, syslog=tcp://0.0.0.0:5514 or unix:///run/log.sock"
}

// line is one of those that came at once.
type line struct {
	text string
	cut  bool
}

// chunk is what a reader hands over.
type chunk struct {
	from  *Input
	key   string // of the stream
	lines []line
	end   bool
	err   error
}

// readLines reads a connection or standard input and hands over its lines, as many at a time as are there. Syslog may count its
// octets (RFC 6587): that can be told from a line by its beginning.
func readLines(ctx context.Context, r io.Reader, in *Input, key string, max int, out chan<- chunk) {
	br := bufio.NewReaderSize(r, 64<<10)
	counted := in.Format == "syslog" || in.Format == "auto"
	send := func(c chunk) bool {
		c.from, c.key = in, key
		select {
		case out <- c:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var lines []line
	size := 0
	for {
		l, err := readLine(br, counted && in.Kind != "stdin", max)
		if err == nil || l.text != "" {
			lines, size = append(lines, l), size+len(l.text)
		}
		if len(lines) > 0 && (err != nil || br.Buffered() == 0 || size > 64<<10) {
			if !send(chunk{lines: lines}) {
				return
			}
			lines, size = nil, 0
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				err = nil
			}
			send(chunk{end: true, err: err})
			return
		}
	}
}

// readLine reads up to a line end, or so many octets as a syslog frame says. What is longer than max loses its end.
func readLine(br *bufio.Reader, counted bool, max int) (l line, err error) {
	if counted {
		if n := frameLength(br); n > 0 {
			text := make([]byte, min(n, max))
			read, err := io.ReadFull(br, text)
			if err == nil && n > max {
				_, err = io.CopyN(io.Discard, br, int64(n-max))
			}
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF
			}
			return line{strings.TrimSuffix(string(text[:read]), "\n"), n > max}, err
		}
	}
	var b []byte
	for {
		part, e := br.ReadSlice('\n')
		if room := max + 1 - len(b); len(part) > room {
			part, l.cut = part[:room], l.cut || len(b)+len(part) > max+1
		}
		b = append(b, part...)
		if !errors.Is(e, bufio.ErrBufferFull) {
			err = e
			break
		}
	}
	b = []byte(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
	if len(b) > max {
		b, l.cut = b[:max], true
	}
	l.text = string(b)
	return l, err
}

// frameLength takes the count in front of a frame; 0: there is none.
func frameLength(br *bufio.Reader) int {
	first, err := br.Peek(1)
	if err != nil || first[0] < '1' || first[0] > '9' {
		return 0
	}
	for size := 4; size <= 9; size++ {
		head, _ := br.Peek(size)
		number, _, ok := strings.Cut(string(head), " <")
		if ok {
			n, isNumber := digits(number, len(number))
			if !isNumber {
				return 0
			}
			br.Discard(len(number) + 1)
			return n
		}
		if len(head) < size || len(strings.TrimLeft(string(head), "0123456789")) > 1 {
			return 0
		}
	}
	return 0
}

// listen accepts connections until ctx is done, each a stream of its own, and waits for their readers.
func listen(ctx context.Context, in *Input, ln net.Listener, limit, max int, out chan<- chunk, log *slog.Logger, refused func()) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		open  []net.Conn
		count int
	)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				break
			}
			log.Warn("accept", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond): // out of descriptors: others close theirs
			}
			continue
		}
		mu.Lock()
		if len(open) >= limit {
			mu.Unlock()
			refused()
			conn.Close()
			continue
		}
		open = append(open, conn)
		count++
		key := fmt.Sprintf("%s#%d", in.Where, count)
		mu.Unlock()
		wg.Go(func() {
			readLines(ctx, conn, in, key, max, out)
			conn.Close()
			mu.Lock()
			defer mu.Unlock()
			open = slices.DeleteFunc(open, func(c net.Conn) bool { return c == conn })
		})
	}
	mu.Lock()
	for _, c := range open {
		c.Close()
	}
	mu.Unlock()
	wg.Wait()
}

// bind makes an input's listener. A socket that a killed adapter left is no obstacle.
func (in *Input) bind() (net.Listener, error) {
	if in.Kind == "unix" {
		if info, err := os.Lstat(in.Where); err == nil && info.Mode()&os.ModeSocket != 0 {
			if conn, err := net.Dial("unix", in.Where); err == nil {
				conn.Close()
				return nil, fmt.Errorf("%s: another program listens there", in.Where)
			}
			os.Remove(in.Where)
		}
	}
	return net.Listen(in.Kind, in.Where)
}

// unwrap takes the line out of what an engine wrote around it. part says that the next piece is of the same line: docker and the
// container runtimes cut at 16 KiB.
func unwrap(envelope, text string) (stream, log string, at time.Time, part, ok bool) {
	if envelope == "docker" {
		var d struct {
			Log    *string   `json:"log"`
			Stream string    `json:"stream"`
			Time   time.Time `json:"time"`
		}
		if json.Unmarshal([]byte(text), &d) != nil || d.Log == nil {
			return "", text, at, false, false
		}
		log, whole := strings.CutSuffix(*d.Log, "\n")
		return d.Stream, strings.TrimSuffix(log, "\r"), d.Time, !whole, true
	}
	f := strings.SplitN(text, " ", 4)
	if len(f) < 4 || f[1] != "stdout" && f[1] != "stderr" || f[2] == "" || f[2][0] != 'P' && f[2][0] != 'F' {
		return "", text, at, false, false
	}
	at, err := time.Parse(time.RFC3339Nano, f[0])
	return f[1], f[3], at, f[2][0] == 'P', err == nil
}
