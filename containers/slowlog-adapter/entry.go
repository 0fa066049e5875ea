package main

import (
	"fmt"
	"slices"
	"time"

	"distlab/containers/internal/resp"
)

// Entry is one of Redis's slow log.
type Entry struct {
	ID         int64
	Time       time.Time     // when the command ended; whole seconds, UTC
	Duration   time.Duration // in microseconds
	Args       []string      // as Redis keeps them: at most 32, each cut at 128 bytes
	Client     string        // address; empty before Redis 4
	ClientName string        // empty before Redis 4, or where the client has set none
	short      bool          // fewer than six fields: not all is known of the client
}

// parseLog reads the reply to SLOWLOG GET, newest first. IDs that do not fall are an error: what was seen and what
// is new could not be told apart.
func parseLog(v resp.Value) ([]Entry, error) {
	if v.Kind != '*' || v.Null {
		return nil, fmt.Errorf("the reply is no list")
	}
	entries := make([]Entry, 0, len(v.List))
	for i, item := range v.List {
		e, err := parseEntry(item)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		if i > 0 && e.ID >= entries[i-1].ID {
			return nil, fmt.Errorf("entry %d: ID %d after %d", i, e.ID, entries[i-1].ID)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// parseEntry reads an entry of four fields (before Redis 4), six, or any number between and beyond: what a later Redis
// may add is left alone.
func parseEntry(v resp.Value) (Entry, error) {
	if v.Kind != '*' || len(v.List) < 4 {
		return Entry{}, fmt.Errorf("%d fields, want 4 or more", len(v.List))
	}
	id, when, took, args := v.List[0], v.List[1], v.List[2], v.List[3]
	for _, n := range []resp.Value{id, when, took} {
		if n.Kind != ':' || n.Num < 0 {
			return Entry{}, fmt.Errorf("id, time and duration are not numbers of 0 or more")
		}
	}
	// Beyond these a duration overflows, and a year has more than four digits, which RFC 3339 does not know.
	if took.Num > int64(time.Duration(1<<63-1)/time.Microsecond) || when.Num > 253402300799 {
		return Entry{}, fmt.Errorf("time %d or duration %d out of range", when.Num, took.Num)
	}
	if args.Kind != '*' || slices.ContainsFunc(args.List, notText) {
		return Entry{}, fmt.Errorf("the arguments are no list of strings")
	}
	e := Entry{
		ID: id.Num, Time: time.Unix(when.Num, 0).UTC(), Duration: time.Duration(took.Num) * time.Microsecond,
		Args: make([]string, len(args.List)), short: len(v.List) < 6,
	}
	for i, a := range args.List {
		e.Args[i] = a.Text
	}
	if !e.short {
		if notText(v.List[4]) || notText(v.List[5]) {
			return Entry{}, fmt.Errorf("the client's address and name are no strings")
		}
		e.Client, e.ClientName = v.List[4].Text, v.List[5].Text
	}
	return e, nil
}

func notText(v resp.Value) bool { return v.Kind != '$' && v.Kind != '+' }
