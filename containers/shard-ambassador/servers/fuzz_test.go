package servers_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"distlab/containers/shard-ambassador/resp"
)

// FuzzDifference sends an input to a server, and to one of its kind through an ambassador: they must answer the same.
func FuzzDifference(f *testing.F) {
	for _, tt := range inputs {
		if len(tt.in) < most {
			f.Add([]byte(tt.in), uint16(0))
			f.Add([]byte(tt.in), uint16(len(tt.in)/2))
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, cut uint16) {
		if len(input) > most {
			return
		}
		p := newPair(t)
		// A difference is one if it is there each time: keys have lives of milliseconds.
		var err error
		for range 3 {
			if err = p.compare(input, int(cut)); err == nil {
				return
			}
		}
		t.Error(err)
	})
}

// most is how long an input may be.
const most = 8 << 10

// compare is what differs.
func (p *pair) compare(input []byte, cut int) error {
	cut = min(cut, len(input))
	if err := p.clean(); err != nil {
		return err
	}
	direct, err := say(p.direct, input, cut)
	if err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	behind, err := say(p.behind, input, cut)
	if err != nil {
		return fmt.Errorf("the ambassador: %w", err)
	}
	theirs, err := replies(direct)
	if err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	ours, err := replies(behind)
	if err != nil {
		return fmt.Errorf("the ambassador: %w", err)
	}
	names, end := requests(input)
	for i := 1; i < len(ours) && len(ours) > len(theirs); i++ {
		// Redis since 7.2 says nothing to a refused login while replies before it are still to be written.
		if strings.HasPrefix(ours[i], "-WRONGPASS") && (i >= len(theirs) || !strings.HasPrefix(theirs[i], "-WRONGPASS")) {
			ours, names = slices.Delete(ours, i, i+1), slices.Delete(names, i, i+1)
			i--
		}
	}
	tell := func(what string) error {
		return fmt.Errorf("%s\n input %q\nserver %q\n  ours %q", what, input, theirs, ours)
	}
	for i := range min(len(ours), len(theirs)) {
		if name := at(names, i); name == "hello" && theirs[i][0] != '-' && ours[i][0] == theirs[i][0] {
			continue // it tells who answers
		}
		if short(ours[i]) != short(theirs[i]) {
			return tell(fmt.Sprintf("reply %d, to %q", i, at(names, i)))
		}
	}
	_, foreign := errors.AsType[resp.Foreign](end)
	switch n := len(ours); {
	case n == len(theirs):
		return nil
	case n == len(theirs)+1 && short(ours[n-1]) == "-ERR Protocol error":
		// The server still waits for what cannot become a request any more. It says so when it has had enough.
		return p.deadEnd(input, n)
	case foreign && n < len(theirs) && theirs[n][0] == '-':
		return nil // ended on a line that is an error there
	case foreign && n > len(theirs) && n < len(names)+1:
		return nil // Redis ends the connection and does not wait for the replies before
	case n > 0 && strings.Contains(ours[n-1], "MAX_REQUEST"):
		return nil // a bound of the ambassador's own, which the manual tells of
	}
	return tell("the number of replies")
}

// deadEnd says whether the server, too, ends an input on an error of the protocol after so many replies, given more of it.
func (p *pair) deadEnd(input []byte, replied int) error {
	if err := p.clean(); err != nil {
		return err
	}
	more := append(bytes.Clone(input), bytes.Repeat([]byte{'x'}, 4*resp.MaxInline)...)
	out, err := say(p.direct, more, 0)
	if err != nil {
		return err
	}
	theirs, err := replies(out)
	if err != nil {
		return err
	}
	if len(theirs) != replied || short(theirs[replied-1]) != "-ERR Protocol error" {
		return fmt.Errorf("ended though the server goes on\n input %q\nserver %.200q", input, theirs)
	}
	return nil
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}
