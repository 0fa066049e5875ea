package election

import (
	"testing"
	"time"

	"distlab/lab/check"

	"github.com/anishathalye/porcupine"
)

// TestLinearizable: what a claim calls broken, and what not.
func TestLinearizable(t *testing.T) {
	add := func(call, ret int, n, balance int64, known bool) operation {
		return operation{account: "x", add: n, call: time.Duration(call), ret: time.Duration(ret), balance: balance, known: known}
	}
	look := func(call, ret int, balance int64) operation { return add(call, ret, 0, balance, true) }
	for _, tt := range []struct {
		name string
		ops  []operation
		want bool
	}{
		{"one after the other", []operation{add(0, 1, 5, 5, true), add(2, 3, 2, 7, true), look(4, 5, 7)}, true},
		{"at a time, in another order", []operation{add(0, 9, 5, 7, true), add(1, 8, 2, 2, true), look(3, 4, 2)}, true},
		{"a lost update", []operation{add(0, 1, 5, 5, true), add(2, 3, 2, 7, true), add(4, 5, 1, 6, true)}, false},
		{"an old balance", []operation{add(0, 1, 5, 5, true), add(2, 3, 2, 7, true), look(4, 5, 5)}, false},
		{"an old balance, while it changes", []operation{add(0, 1, 5, 5, true), add(2, 9, 2, 7, true), look(4, 5, 5)}, true},
		{"not answered, and done later than others", []operation{add(0, 1, 5, 5, true), add(2, 99, 2, 0, false), look(4, 5, 5), look(6, 7, 7)}, true},
		{"not answered, and not done in the end", []operation{add(0, 1, 5, 5, true), add(2, 9, 2, 0, false), look(20, 21, 5)}, false},
		{"another account is another one", []operation{add(0, 1, 5, 5, true), {account: "y", add: 3, call: 2, ret: 3, balance: 3, known: true}}, true},
	} {
		var history []porcupine.Operation
		for i, o := range tt.ops {
			history = append(history, porcupine.Operation{ClientId: i, Input: o, Output: o, Call: int64(o.call), Return: int64(o.ret)})
		}
		var ways check.Ways
		linearizable(nil, &ways, history)
		if got := ways.Decide().Verdict == check.Pass; got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestAlone(t *testing.T) {
	write := func(token int64, writer string) entry {
		return entry{Op: "write", Verdict: accepted, Token: token, Writer: writer}
	}
	begins := func(token int64, writer string) entry {
		return entry{Op: "open", Verdict: accepted, Token: token, Writer: writer}
	}
	for _, tt := range []struct {
		name string
		all  []entry
		want bool
	}{
		{"in turns", []entry{begins(3, "a"), write(3, "a"), begins(5, "b"), write(5, "b"), write(7, "a")}, true},
		{"an older one", []entry{write(3, "a"), write(5, "b"), write(3, "a")}, false},
		{"an older one, when another has begun", []entry{write(3, "a"), begins(5, "b"), write(3, "a")}, false},
		{"an older one, refused", []entry{write(3, "a"), write(5, "b"), {Op: "write", Verdict: "fenced", Token: 3, Writer: "a"}}, true},
		{"two with one token", []entry{write(3, "a"), write(3, "b")}, false},
		{"nobody", nil, false},
	} {
		var as check.Tally
		alone(&as, tt.all)
		if as.Whole() != tt.want {
			t.Errorf("%s: %v: %s", tt.name, &as, as.Odd())
		}
	}
}

func TestApart(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for _, tt := range []struct {
		name string
		all  []term
		want bool
	}{
		{"in turns", []term{{token: 1, began: at(1), ended: at(3)}, {token: 2, began: at(3), ended: at(5)}, {token: 3, began: at(6)}}, true},
		{"two at a time", []term{{token: 1, began: at(1), ended: at(4)}, {token: 2, began: at(3)}}, false},
		{"one was killed", []term{{token: 1, began: at(1)}, {token: 2, began: at(3), ended: at(4)}, {token: 3, began: at(5)}}, true},
	} {
		var ways check.Ways
		apart(&ways, tt.all)
		if res := ways.Decide(); (res.Verdict == check.Pass) != tt.want {
			t.Errorf("%s: %s: %s", tt.name, res.Measured, res.Detail)
		}
	}
}
