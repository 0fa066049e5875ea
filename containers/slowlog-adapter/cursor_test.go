package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAdvance(t *testing.T) {
	for _, tt := range []struct {
		name       string
		from       Cursor
		log        []int64 // newest first
		fresh      int
		lost, last int64
	}{
		{"the first poll", Cursor{Last: -1}, []int64{9, 8}, 2, 0, 9},
		{"nothing yet", Cursor{Last: -1}, nil, 0, 0, -1},
		{"ID 0", Cursor{"a", -1}, []int64{0}, 1, 0, 0},
		{"none new", Cursor{"a", 9}, []int64{9, 8}, 0, 0, 9},
		{"an empty log", Cursor{"a", 9}, nil, 0, 0, 9},
		{"the next", Cursor{"a", 9}, []int64{10}, 1, 0, 10},
		{"all but one", Cursor{"a", 9}, []int64{11}, 1, 1, 11},
		{"another process", Cursor{"b", 9}, []int64{11, 10}, 2, 10, 11},
		{"another process, nothing yet", Cursor{"b", 9}, nil, 0, 0, -1},
	} {
		var log []Entry
		for _, id := range tt.log {
			log = append(log, Entry{ID: id})
		}
		n := tt.from.advance("a", log)
		if len(n.entries) != tt.fresh || n.lost != tt.lost || n.restarted != (tt.from.RunID == "b") {
			t.Errorf("%s: %d new, %d lost, restarted %t", tt.name, len(n.entries), n.lost, n.restarted)
		}
		if diff := cmp.Diff(Cursor{"a", tt.last}, n.after); diff != "" {
			t.Errorf("%s: cursor (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Behind address translation the address is another one; the name is the same.
func TestOwn(t *testing.T) {
	a := &Adapter{Server: &Server{Name: "me"}, conn: &conn{addr: "10.0.0.1:1"}}
	for _, tt := range []struct {
		e    Entry
		want bool
	}{
		{Entry{ClientName: "me", Client: "10.9.9.9:9"}, true},
		{Entry{ClientName: "", Client: "10.0.0.1:1"}, true},
		{Entry{ClientName: "you", Client: "10.0.0.1:2"}, false},
		{Entry{Args: []string{"SLOWLOG", "GET", "16"}}, false},
		{Entry{Args: []string{"SLOWLOG", "GET", "16"}, short: true}, true},
		{Entry{Args: []string{"SLOWLOG", "GET", "x"}, short: true}, false},
	} {
		if got := a.own(tt.e); got != tt.want {
			t.Errorf("%+v: %t", tt.e, got)
		}
	}
}
