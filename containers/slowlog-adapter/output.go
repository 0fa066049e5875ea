package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// line is what is written for an entry, or for a loss. Every line says which it is: event. Its texts are as Redis has
// them, any bytes at all; each format writes them so that they can be had back.
type line struct {
	Time       string   `json:"time"`  // RFC 3339 in UTC, whole seconds, which is what Redis has
	Event      string   `json:"event"` // slow, lost or restart
	ID         *int64   `json:"id,omitempty"`
	DurationUS *int64   `json:"duration_us,omitempty"`
	Args       []string `json:"argv,omitempty"`
	Client     *string  `json:"client,omitempty"` // nil: Redis does not say, before version 4
	ClientName *string  `json:"client_name,omitempty"`
	Lost       *int64   `json:"lost,omitempty"` // entries
	FirstID    *int64   `json:"first_id,omitempty"`
	LastID     *int64   `json:"last_id,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	OldRunID   string   `json:"old_run_id,omitempty"`
	RunID      string   `json:"run_id"`
}

func slowLine(e Entry, args []string, runID string) line {
	us := e.Duration.Microseconds()
	l := line{Time: e.Time.Format(time.RFC3339), Event: "slow", ID: &e.ID, DurationUS: &us, Args: args, RunID: runID}
	if !e.short {
		l.Client, l.ClientName = &e.Client, &e.ClientName
	}
	return l
}

// lostLine is about the entries first to first+count-1.
func lostLine(now time.Time, count, first int64, reason, runID string) line {
	last := first + count - 1
	return line{
		Time: now.UTC().Format(time.RFC3339), Event: "lost", Lost: &count, FirstID: &first, LastID: &last,
		Reason: reason, RunID: runID,
	}
}

// restartLine says that entries after lastID of the old process, if there were any, can neither be read nor counted.
func restartLine(now time.Time, old Cursor, runID string) line {
	return line{Time: now.UTC().Format(time.RFC3339), Event: "restart", LastID: &old.Last, OldRunID: old.RunID, RunID: runID}
}

// format appends a line in one of the formats of OUTPUT.
type format func(b []byte, l line) []byte

var formats = map[string]format{"json": appendJSON, "logfmt": appendLogfmt, "redis": appendRedis}

// appendJSON writes texts as text writes them: JSON knows no bytes.
func appendJSON(b []byte, l line) []byte {
	args := make([]string, len(l.Args))
	for i, a := range l.Args {
		args[i] = text(a)
	}
	l.Args, l.RunID, l.OldRunID = args, text(l.RunID), text(l.OldRunID)
	if l.Client != nil {
		client, name := text(*l.Client), text(*l.ClientName)
		l.Client, l.ClientName = &client, &name
	}
	row, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return append(append(b, row...), '\n')
}

// appendLogfmt writes key=value. A text is as in JSON, and quoted as Go quotes where it must be. The arguments are one
// value: each as redis-cli takes it, so that the value can be given to redis-cli.
func appendLogfmt(b []byte, l line) []byte {
	pair := func(key, value string) {
		if key != "time" {
			b = append(b, ' ')
		}
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '=' || r == '"' || r == '\\' || r >= 0x7f }) {
			value = strconv.Quote(value)
		}
		b = append(append(append(b, key...), '='), value...)
	}
	number := func(key string, n *int64) {
		if n != nil {
			pair(key, strconv.FormatInt(*n, 10))
		}
	}
	pair("time", l.Time)
	pair("event", l.Event)
	number("id", l.ID)
	number("duration_us", l.DurationUS)
	if l.Event == "slow" {
		words := make([]string, len(l.Args))
		for i, a := range l.Args {
			words[i] = argument(a)
		}
		pair("command", strings.Join(words, " "))
	}
	if l.Client != nil {
		pair("client", text(*l.Client))
		pair("client_name", text(*l.ClientName))
	}
	number("lost", l.Lost)
	number("first_id", l.FirstID)
	number("last_id", l.LastID)
	if l.Reason != "" {
		pair("reason", l.Reason)
	}
	if l.OldRunID != "" {
		pair("old_run_id", text(l.OldRunID))
	}
	pair("run_id", text(l.RunID))
	return append(b, '\n')
}

// appendRedis writes an entry as redis-cli --no-raw shows one of SLOWLOG GET, over several lines, and what is no entry
// as a comment.
func appendRedis(b []byte, l line) []byte {
	switch l.Event {
	case "lost":
		return fmt.Appendf(b, "# lost %d entries, IDs %d to %d: %s\n", *l.Lost, *l.FirstID, *l.LastID, l.Reason)
	case "restart":
		return fmt.Appendf(b, "# restart: run ID %s, was %s; the last ID read was %d\n", argument(l.RunID), argument(l.OldRunID), *l.LastID)
	}
	when, _ := time.Parse(time.RFC3339, l.Time) // slowLine wrote it
	b = fmt.Appendf(b, "1) (integer) %d\n2) (integer) %d\n3) (integer) %d\n", *l.ID, when.Unix(), *l.DurationUS)
	if len(l.Args) == 0 {
		b = append(b, "4) (empty array)\n"...)
	}
	width := len(strconv.Itoa(len(l.Args)))
	for i, a := range l.Args {
		head := "   "
		if i == 0 {
			head = "4) "
		}
		b = fmt.Appendf(b, "%s%*d) %s\n", head, width, i+1, repr(a))
	}
	if l.Client != nil {
		b = fmt.Appendf(b, "5) %s\n6) %s\n", repr(*l.Client), repr(*l.ClientName))
	}
	return b
}
