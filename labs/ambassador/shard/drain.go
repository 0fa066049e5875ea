package shard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"distlab/lab/check"
)

// held is how long the shards answer nobody, half of the pool's timeout: what is asked meanwhile is pending.
const held = time.Second

// drain stops the ambassador with a lot pending. On a busy machine the stop may come too late to find it so: then it
// is tried again.
func drain(ctx context.Context, s *check.Stack) (check.Result, error) {
	const tries = 4
	for try := 1; ; try++ {
		d, err := drainOnce(ctx, s)
		if err != nil {
			return check.Result{}, err
		}
		if d.pending < d.asked/2 {
			if try < tries && d.answered == d.asked {
				continue
			}
			return check.Unknown("%d of %d requests were pending when the ambassador was told to stop", d.pending, d.asked), nil
		}
		ok := d.answered == d.asked && d.done == d.asked && d.exit == "exited with code 0"
		return check.Decide(ok, "%d of %d requests answered and %d done; %s", d.answered, d.asked, d.done, d.exit).
			Want("all, all; exited with code 0").Of(d.asked).
			Because("%d were pending when the ambassador was told to stop\n%s", d.pending, strings.Join(d.wrong, "\n")), nil
	}
}

// drained is what a stop with requests pending came to.
type drained struct {
	asked, answered, pending, done int
	exit                           string
	wrong                          []string
}

// drainOnce sends a batch on each of several connections while the shards hold their answers back, and stops the
// ambassador. Each request counts a key of its own up by one: one that is lost, or done twice, shows on both sides.
func drainOnce(ctx context.Context, s *check.Stack) (d drained, err error) {
	const connections, each = 10, 100
	addr, err := s.Address(ctx, pod, redisPort)
	if err != nil {
		return d, err
	}
	prefix := fresh(s, "drain")
	lines := make([]*line, connections)
	for i := range lines {
		if lines[i], err = dial(ctx, addr); err != nil {
			return d, err
		}
		defer lines[i].conn.Close()
		for j := range each {
			lines[i].ask("INCR", fmt.Sprintf("%s%d:%d", prefix, i, j))
		}
	}
	if err := hold(ctx, s); err != nil {
		return d, err
	}
	since := time.Now()
	var wg sync.WaitGroup
	for _, l := range lines {
		if err := l.out.Flush(); err != nil {
			return d, fmt.Errorf("send the requests: %w", err)
		}
		wg.Go(l.read)
	}
	f, err := s.Stop(ctx, ambassador, check.Grace(patience))
	if err != nil {
		return d, err
	}
	wg.Wait()
	state, err := s.State(ctx, ambassador)
	if err != nil {
		return d, err
	}
	told, err := toldToStop(ctx, s, since)
	if err != nil {
		return d, err
	}
	if err := f.Heal(ctx); err != nil {
		return d, err
	}
	d.exit = fmt.Sprintf("%s with code %d", state.Status, state.ExitCode)
	for _, l := range lines {
		d.asked += l.asked
		d.answered += len(l.answers)
		d.pending += l.asked
		for _, at := range l.answers {
			if !at.After(told) {
				d.pending--
			}
		}
		if l.wrong != "" {
			d.wrong = append(d.wrong, l.wrong)
		}
	}
	d.done, err = sumOf(ctx, s, prefix+"*")
	return d, err
}

// line is one connection with a batch on it.
type line struct {
	conn    net.Conn
	out     *bufio.Writer
	asked   int
	answers []time.Time // when each right answer came
	wrong   string      // the first that was not
}

func dial(ctx context.Context, addr string) (*line, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(2 * patience))
	return &line{conn: conn, out: bufio.NewWriterSize(conn, 64<<10)}, nil
}

// ask writes a request of RESP into the line's buffer.
func (l *line) ask(args ...string) {
	l.asked++
	fmt.Fprintf(l.out, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(l.out, "$%d\r\n%s\r\n", len(arg), arg)
	}
}

// read reads all answers: each must be the number 1.
func (l *line) read() {
	in := bufio.NewReader(l.conn)
	for i := range l.asked {
		text, err := in.ReadString('\n')
		if err != nil || text != ":1\r\n" {
			l.wrong = fmt.Sprintf("answer %d of %d: %q, %v", i+1, l.asked, text, err)
			return
		}
		l.answers = append(l.answers, time.Now())
	}
}

// toldToStop is when the ambassador heard SIGTERM, by its own log.
func toldToStop(ctx context.Context, s *check.Stack, since time.Time) (time.Time, error) {
	text, err := s.Logs(ctx, ambassador, since)
	if err != nil {
		return time.Time{}, err
	}
	for row := range strings.Lines(text) {
		var entry struct {
			Time time.Time `json:"time"`
			Msg  string    `json:"msg"`
		}
		if json.Unmarshal([]byte(row), &entry) == nil && entry.Msg == "draining" {
			return entry.Time, nil
		}
	}
	return time.Time{}, fmt.Errorf("the ambassador's log has no draining:\n%.500s", text)
}

// hold has every shard answer nobody for a while, all from nearly the same moment.
func hold(ctx context.Context, s *check.Stack) error {
	errs := make([]error, len(shards))
	var wg sync.WaitGroup
	for i, service := range shards {
		wg.Go(func() {
			_, errs[i] = on(ctx, s, service, "client", "pause", strconv.FormatInt(held.Milliseconds(), 10), "all")
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sumOf adds up what the keys of a pattern have been counted to, asked past the ambassador, and removes them.
func sumOf(ctx context.Context, s *check.Stack, pattern string) (sum int, err error) {
	const script = `local n = 0 for _, k in ipairs(redis.call('KEYS', ARGV[1])) do n = n + redis.call('GET', k) redis.call('DEL', k) end return n`
	for _, service := range shards {
		out, err := on(ctx, s, service, "eval", script, "0", pattern)
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			return 0, fmt.Errorf("sum of %s: %w", service, err)
		}
		sum += n
	}
	return sum, nil
}
