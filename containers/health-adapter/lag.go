package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// lagCommand is how a server is asked for its replication: newer ones know the first, older ones the second.
type lagCommand int

var lagCommands = [...]string{"SHOW REPLICA STATUS", "SHOW SLAVE STATUS"}

// lagError says in what way a replica is not good enough.
type lagError string

func (e lagError) Error() string { return string(e) }

// maxChannels bounds what is read of a replica with several sources.
const maxChannels = 256

// behind is how far a replica is behind the worst of its sources. A server that is no replica is not behind.
func (s *Server) behind(ctx context.Context, limit time.Duration) (Finding, error) {
	t, err := s.rows(ctx, lagCommands[s.lag], maxChannels)
	if number(err) == syntaxError && int(s.lag)+1 < len(lagCommands) {
		s.lag++
		t, err = s.rows(ctx, lagCommands[s.lag], maxChannels)
	}
	if err != nil {
		return Finding{}, err
	}
	found := Finding{Replica: len(t.values) > 0}
	for _, row := range t.values {
		lag, err := t.lag(row)
		if err != nil {
			return found, err
		}
		found.Lag = max(found.Lag, lag)
	}
	if found.Lag > limit {
		return found, lagError(fmt.Sprintf("the replica is %s behind, more than %s", found.Lag, limit))
	}
	return found, nil
}

// maxSeconds is the most that fits a duration; more is as bad.
const maxSeconds = 1 << 32

// lag reads one source's row. A NULL means that a thread of the replication has stopped.
func (t table) lag(row []*string) (time.Duration, error) {
	for i, name := range t.columns {
		if name != "Seconds_Behind_Source" && name != "Seconds_Behind_Master" {
			continue
		}
		if i >= len(row) || row[i] == nil {
			return 0, lagError("the replication has stopped")
		}
		seconds, err := strconv.ParseUint(*row[i], 10, 63)
		if err != nil {
			return 0, lagError("the replica's lag is not a number")
		}
		return time.Duration(min(seconds, maxSeconds)) * time.Second, nil
	}
	return 0, lagError("the server does not tell how far it is behind")
}
