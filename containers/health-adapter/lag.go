package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// lagCommands ask a server for its replication, and for all of it: a channel that is not shown cannot be seen to be broken.
// MariaDB shows named connections by the first alone, and without an error none of them by the others; MySQL knows the second
// since 8.0.22, the third until 8.3. Who does not know a command calls it a syntax error.
var lagCommands = [...]string{"SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"}

// lagError says in what way a replica is not good enough.
type lagError string

func (e lagError) Error() string { return string(e) }

// maxChannels bounds what is read of a replica with several sources.
const maxChannels = 256

// behind is how far a replica is behind the worst of its sources. A server that is no replica is not behind.
func (s *Server) behind(ctx context.Context, limit time.Duration) (Finding, error) {
	t, err := s.rows(ctx, lagCommands[s.conn.lag], maxChannels+1)
	for number(err) == syntaxError {
		if s.conn.lag++; s.conn.lag == len(lagCommands) {
			s.conn.lag = 0
			return Finding{}, lagError("the server knows no command that shows its replication")
		}
		t, err = s.rows(ctx, lagCommands[s.conn.lag], maxChannels+1)
	}
	if err != nil {
		return Finding{}, err
	}
	return t.judge(limit)
}

// judge finds the worst channel. What cannot be read is not well: a column that is not there, a word that is not known, a
// number that is none.
func (t table) judge(limit time.Duration) (Finding, error) {
	switch {
	case len(t.columns) == 0:
		return Finding{}, lagError("the server does not show its replication")
	case len(t.values) == 0:
		return Finding{}, nil
	case len(t.values) > maxChannels:
		return Finding{}, lagError(fmt.Sprintf("the replica has more than %d sources", maxChannels))
	}
	found := Finding{Replica: true}
	for _, row := range t.values {
		lag, err := t.lag(row)
		if err != nil {
			return Finding{}, err
		}
		found.Lag = max(found.Lag, lag)
	}
	if found.Lag > limit {
		return found, lagError(fmt.Sprintf("the replica is %s behind, more than %s", found.Lag, limit))
	}
	return found, nil
}

// The columns that count, each under the names that it has had. Source: MySQL's and MariaDB's manuals on these commands.
var (
	ioColumns  = []string{"Replica_IO_Running", "Slave_IO_Running"}
	sqlColumns = []string{"Replica_SQL_Running", "Slave_SQL_Running"}
	lagColumns = []string{"Seconds_Behind_Source", "Seconds_Behind_Master"}
)

// maxSeconds is the most that fits a duration; more is as bad.
const maxSeconds = 1 << 32

// lag reads one channel's row. A lag counts only while both threads run: one that has stopped, or that goes on trying to
// connect, leaves a lag of NULL, or one that was true once.
func (t table) lag(row []*string) (time.Duration, error) {
	for _, thread := range [][]string{ioColumns, sqlColumns} {
		state, err := t.one(row, thread)
		if err != nil {
			return 0, err
		}
		if state == nil || !strings.EqualFold(*state, "Yes") {
			return 0, lagError("the replication has stopped")
		}
	}
	text, err := t.one(row, lagColumns)
	switch {
	case err != nil:
		return 0, err
	case text == nil:
		return 0, lagError("the replication has stopped")
	}
	seconds, err := strconv.ParseUint(*text, 10, 63)
	if err != nil {
		return 0, lagError("the replica's lag is not a number")
	}
	return time.Duration(min(seconds, maxSeconds)) * time.Second, nil
}

// one is the value of the one column that has one of these names; nil is NULL.
func (t table) one(row []*string, names []string) (value *string, err error) {
	seen := 0
	for i, column := range t.columns {
		for _, name := range names {
			if strings.EqualFold(column, name) && i < len(row) {
				seen++
				value = row[i]
			}
		}
	}
	if seen != 1 {
		return nil, lagError("the server does not tell how far it is behind")
	}
	return value, nil
}
