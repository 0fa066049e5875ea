package main

import (
	"fmt"
	"slices"
	"time"
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
func parseLog(v value) ([]Entry, error) {
	if v.kind != '*' || v.null {
		return nil, fmt.Errorf("the reply is no list")
	}
	entries := make([]Entry, 0, len(v.list))
	for i, item := range v.list {
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
func parseEntry(v value) (Entry, error) {
	if v.kind != '*' || len(v.list) < 4 {
		return Entry{}, fmt.Errorf("%d fields, want 4 or more", len(v.list))
	}
	id, when, took, args := v.list[0], v.list[1], v.list[2], v.list[3]
	for _, n := range []value{id, when, took} {
		if n.kind != ':' || n.num < 0 {
			return Entry{}, fmt.Errorf("id, time and duration are not numbers of 0 or more")
		}
	}
	// Beyond these a duration overflows, and a year has more than four digits, which RFC 3339 does not know.
	if took.num > int64(time.Duration(1<<63-1)/time.Microsecond) || when.num > 253402300799 {
		return Entry{}, fmt.Errorf("time %d or duration %d out of range", when.num, took.num)
	}
	if args.kind != '*' || slices.ContainsFunc(args.list, notText) {
		return Entry{}, fmt.Errorf("the arguments are no list of strings")
	}
	e := Entry{
		ID: id.num, Time: time.Unix(when.num, 0).UTC(), Duration: time.Duration(took.num) * time.Microsecond,
		Args: make([]string, len(args.list)), short: len(v.list) < 6,
	}
	for i, a := range args.list {
		e.Args[i] = a.text
	}
	if !e.short {
		if notText(v.list[4]) || notText(v.list[5]) {
			return Entry{}, fmt.Errorf("the client's address and name are no strings")
		}
		e.Client, e.ClientName = v.list[4].text, v.list[5].text
	}
	return e, nil
}

func notText(v value) bool { return v.kind != '$' && v.kind != '+' }
