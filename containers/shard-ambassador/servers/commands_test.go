package servers_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"distlab/containers/shard-ambassador/resp"
)

// TestCommands holds the table of commands to the server's own: how many arguments each has, and where its keys are.
func TestCommands(t *testing.T) {
	p := newPair(t)
	known := 0
	for _, c := range resp.Commands() {
		if c.Action == resp.Refused {
			continue
		}
		reply, err := p.admins[0].ask("COMMAND", "INFO", c.Name)
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(reply)
		// *1 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 …
		if len(fields) < 6 || fields[0] != "*1" || fields[1] == "*-1" {
			continue // of a newer server, or of a module
		}
		known++
		flags, err := strconv.Atoi(strings.TrimPrefix(fields[5], "*"))
		if err != nil {
			t.Fatalf("%s: %q", c.Name, fields)
		}
		theirs := fmt.Sprint(fields[4], " ", fields[6+flags:9+flags])
		ours := strings.Fields(c.Info()) // *6 $3 get :2 *0 :1 :1 :1
		if ours[3] == ":-"+fields[4][1:] || fields[4] == ":-1" {
			ours[3] = fields[4] // newer servers take more arguments, and modules do not tell: the server will say
		}
		if got := fmt.Sprint(ours[3], " ", ours[5:8]); got != theirs {
			t.Errorf("%s: arity and keys are %s, the server's %s", c.Name, got, theirs)
		}
	}
	if known < 100 {
		t.Errorf("only %d commands are known to both", known)
	}
}
