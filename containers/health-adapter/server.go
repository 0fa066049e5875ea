package main

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is a MySQL or MariaDB server and at most one connection to it. It is asked by one goroutine at a time.
//
// It does without database/sql: a pool hides what a health check wants to see, and cannot give back a connection whose
// driver has panicked.
type Server struct {
	Addr           string // host:port, or the path of a socket
	User, Password string
	Database       string
	TLS            *tls.Config   // nil: none
	Plaintext      bool          // go on without TLS where the server has none
	MaxAge         time.Duration // of the connection; 0: one for each question
	Limit          time.Duration // for a query on the server, so that one that was given up ends there too; 0: none

	Opened func() // after each connection that was made, or nil
	Closed func() // after each that was closed, or nil
	conn   *link  // or nil
}

// link is a connection that is logged in.
type link struct {
	conn  driver.Conn
	raw   net.Conn
	born  time.Time
	reuse bool // a question was asked on it before
	lag   int  // the first of lagCommands that the server may know: another login may be another server's
}

// Question is what a server must answer to be healthy.
type Question struct {
	// Query must succeed. If it returns columns, the first row's first value must be there and say yes: see verdict.
	Query    string
	Writable bool          // the server must not be read-only
	MaxLag   time.Duration // a replica must not be further behind, nor have stopped; 0: not asked
}

// What an answer can be that is no error of the server's.
var (
	errNoRow    = errors.New("the query returned no row")
	errFalse    = errors.New("the query's first column says no: NULL, 0, nothing or a word like OFF")
	errUnclear  = errors.New("the query's first column says neither yes nor no")
	errReadOnly = errors.New("the server is read-only")
	errPanic    = errors.New("the server's answer cannot be read")
	errNoSwitch = errors.New("the server does not tell whether it is read-only")
)

// Ask asks on the connection that there is, or on a new one. Where an old connection turns out to be dead it asks once
// more on a new one: a server that was restarted since the last question is a healthy server. The error's text is made
// here and holds nothing that the server sent, and no secret.
func (s *Server) Ask(ctx context.Context, q Question) (found Finding, err error) {
	if s.conn != nil && time.Since(s.conn.born) >= s.MaxAge {
		s.close()
	}
	for {
		old := s.conn != nil
		found, err = s.once(ctx, q)
		if err == nil || !old || answered(err) || ctx.Err() != nil {
			break
		}
	}
	if s.MaxAge == 0 {
		s.close()
	}
	return found, plain(err)
}

// answered: the server said no, in order. Asking it again would be another check.
func answered(err error) bool {
	var reported *mysql.MySQLError
	if errors.As(err, &reported) || errors.As(err, new(lagError)) {
		return true
	}
	return slices.ContainsFunc([]error{errNoRow, errFalse, errUnclear, errReadOnly, errNoSwitch}, func(no error) bool {
		return errors.Is(err, no)
	})
}

// once asks, and closes the connection on any error: what was granted or repaired meanwhile may take a new login.
func (s *Server) once(ctx context.Context, q Question) (found Finding, err error) {
	defer func() {
		// The driver indexes into what it was sent.
		if p := recover(); p != nil {
			err = errPanic
		}
		if err != nil {
			s.close()
		}
	}()
	if err := s.connect(ctx); err != nil {
		return found, err
	}
	if s.conn.reuse {
		// Looks whether the other side has closed it meanwhile.
		if r, ok := s.conn.conn.(driver.SessionResetter); ok {
			if err := r.ResetSession(ctx); err != nil {
				return found, err
			}
		}
	}
	s.conn.reuse = true
	if q.Writable {
		if err := s.writable(ctx); err != nil {
			return found, err
		}
	}
	if q.MaxLag > 0 {
		if found, err = s.behind(ctx, q.MaxLag); err != nil {
			return found, err
		}
	}
	return found, s.query(ctx, q.Query)
}

// query runs the question's own query.
func (s *Server) query(ctx context.Context, query string) error {
	rows, err := s.rows(ctx, query, 1)
	switch {
	case err != nil:
		return err
	case len(rows.columns) == 0: // a statement: that it succeeded is the answer
		return nil
	case len(rows.values) == 0:
		return errNoRow
	}
	return verdict(rows.types[0], rows.values[0][0])
}

// writable asks for the server's own switches, not for the session's. Each must be there and off: MariaDB's read_only has
// had other words than ON since 12.
func (s *Server) writable(ctx context.Context) error {
	rows, err := s.rows(ctx, "SELECT @@GLOBAL.read_only, @@GLOBAL.innodb_read_only", 1)
	if err != nil {
		return err
	}
	if len(rows.columns) != 2 || len(rows.values) != 1 {
		return errNoSwitch
	}
	for _, v := range rows.values[0] {
		switch {
		case v == nil:
			return errNoSwitch
		case *v != "0" && !strings.EqualFold(*v, "off"):
			return errReadOnly
		}
	}
	return nil
}

// table is the text of a result's first rows; nil is NULL.
type table struct {
	columns []string
	types   []string // of the columns, in the words of the driver; "" where it does not say
	values  [][]*string
}

// rows runs a query and reads at most so many rows; the rest is thrown away within ctx.
func (s *Server) rows(ctx context.Context, query string, most int) (t table, err error) {
	q, ok := s.conn.conn.(driver.QueryerContext)
	if !ok {
		return t, errors.New("the driver cannot query")
	}
	rows, err := q.QueryContext(ctx, query, nil)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	t.columns = rows.Columns()
	if len(t.columns) == 0 {
		return t, nil
	}
	t.types = make([]string, len(t.columns))
	if named, ok := rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		for i := range t.types {
			t.types[i] = named.ColumnTypeDatabaseTypeName(i)
		}
	}
	dest := make([]driver.Value, len(t.columns))
	for len(t.values) < most {
		if err := rows.Next(dest); err == io.EOF {
			break
		} else if err != nil {
			return t, err
		}
		row := make([]*string, len(dest))
		for i, v := range dest {
			row[i] = text(v)
		}
		t.values = append(t.values, row)
	}
	return t, nil
}

// text copies a value, whose bytes are the driver's and last until the next row.
func text(v driver.Value) *string {
	var out string
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		out = string(v)
	default:
		out = fmt.Sprint(v)
	}
	return &out
}

// Knock only opens the port and closes it again: it takes a server that hangs for a healthy one. It is there to be
// compared with.
func (s *Server) Knock(ctx context.Context) (Finding, error) {
	conn, err := s.dial(ctx)
	if err == nil {
		conn.Close()
	}
	return Finding{}, plain(err)
}

func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, s.network(), s.Addr)
}

func (s *Server) network() string {
	if strings.HasPrefix(s.Addr, "/") {
		return "unix"
	}
	return "tcp"
}

// connect logs in, unless there is a connection. Nothing is left open after an error or a panic.
func (s *Server) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	var raw net.Conn
	kept := false
	defer func() {
		if !kept && raw != nil {
			raw.Close()
		}
	}()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = s.User, s.Password, s.Database
	cfg.Net, cfg.Addr = s.network(), s.Addr
	cfg.TLS, cfg.AllowFallbackToPlaintext = s.TLS, s.Plaintext
	cfg.Logger = &mysql.NopLogger{} // it would write what the server sent
	cfg.ConnectionAttributes = "program_name:health-adapter"
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var err error
		raw, err = s.dial(ctx)
		return raw, err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return err
	}
	s.conn = &link{conn: conn, raw: raw, born: time.Now()}
	kept = true
	if s.Opened != nil {
		s.Opened()
	}
	return s.bound(ctx)
}

// bound has the server itself give up a query that takes too long: closing the connection alone may leave it running,
// and a question that waits for a lock would leave one more behind each time. MySQL and MariaDB have two names for it.
func (s *Server) bound(ctx context.Context) error {
	if s.Limit == 0 {
		return nil
	}
	seconds := int(math.Ceil(s.Limit.Seconds()))
	_, err := s.rows(ctx, fmt.Sprintf("SET SESSION lock_wait_timeout = %d, SESSION innodb_lock_wait_timeout = %d", seconds, seconds), 0)
	if err != nil {
		return err
	}
	_, err = s.rows(ctx, fmt.Sprintf("SET SESSION max_execution_time = %d", max(s.Limit.Milliseconds(), 1)), 0)
	if number(err) == unknownVariable {
		_, err = s.rows(ctx, fmt.Sprintf("SET SESSION max_statement_time = %.3f", max(s.Limit.Seconds(), 0.001)), 0)
	}
	if number(err) == unknownVariable {
		err = nil // neither: an older server
	}
	return err
}

// close gives the connection up. The server is not told: what it would answer to a goodbye is not waited for.
func (s *Server) close() {
	if s.conn == nil {
		return
	}
	s.conn.raw.Close()
	s.conn.conn.Close() // ends the driver's goroutine
	s.conn = nil
	if s.Closed != nil {
		s.Closed()
	}
}
