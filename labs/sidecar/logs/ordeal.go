package logs

import (
	"fmt"
	"time"

	"distlab/lab/check"
)

// ordeal is what the app, logrotate and this machine's kernel do to log files, one after the other and at once. Each step
// is a way in which a line may be lost or come twice.
type ordeal struct {
	ways   map[string]span
	ledger ledger
	lost   int // acknowledgements that the store kept to itself
}

// away makes the store misbehave, and is a fault with a receipt.
func away(m *check.M, mode string) *check.Fault {
	return m.Run(store, mode, []string{"/log-store", "fault", mode}, []string{"/log-store", "fault", "none"}, func(m *check.M) string { return storeCounts(m).Fault })
}

// kill ends the shipper with SIGKILL while act is done, and starts it again.
func kill(m *check.M, act func()) {
	dead := m.Kill(shipper)
	act()
	m.Heal(dead)
}

// Lines of a step: a few, and a burst of so much that a part of it is unread when the file is renamed or copied.
const few, burst, burstSize = 200, 3000, 1024

// steps are what an ordeal is made of; by is how the file is rotated. Each begins and ends with a look of the shipper: the
// app deletes files, and what nobody could see nobody can ship.
var steps = map[string]func(m *check.M, by string){
	"rotated": func(m *check.M, by string) { rotate(m, by, 5) },
	"twice at once": func(m *check.M, by string) {
		rotate(m, by, 5)
		written(m, few, 0)
		rotate(m, by, 5)
	},
	"store away": func(m *check.M, by string) {
		gone := away(m, "hang")
		written(m, burst, burstSize) // is rotated by itself, too
		scanned(m)
		rotate(m, by, 5)
		scanned(m)
		m.Heal(gone)
		level(m, 2)
	},
	"shipper killed, store failing": func(m *check.M, by string) {
		gone := away(m, "error")
		written(m, few, 0)
		kill(m, func() {
			rotate(m, by, 5)
			written(m, 2*few, 0)
		})
		m.Heal(gone)
	},
	"acknowledgements lost, shipper killed": func(m *check.M, by string) {
		level(m, 2) // the batch that is cut is of this file then, and nothing older waits before it
		before := storeCounts(m).Struck["cut"]
		gone := away(m, "cut")
		written(m, 5*few, 0)
		m.Await(patience, "a batch that was kept and not acknowledged", func(m *check.M) error {
			if n := storeCounts(m).Struck["cut"]; n == before {
				return fmt.Errorf("%d", n-before)
			}
			return nil
		})
		kill(m, func() {})
		scanned(m) // it has the file again, before that is taken away: who never saw it would send nothing twice
		rotate(m, by, 0)
		m.Heal(gone)
	},
}

// suffer goes through steps, with both ways of rotation, and reads then what the store has.
func suffer(m *check.M, names ...string) (o ordeal) {
	resume := quiet(m)
	defer resume()
	level(m, 2)
	o.ways = map[string]span{}
	before := storeCounts(m)
	first := int64(0)
	for _, by := range []string{"rename", "copytruncate"} {
		for _, name := range names {
			s := written(m, few, 0)
			if first == 0 {
				first = s.First
			}
			scanned(m)
			steps[name](m, by)
			s.Last = written(m, few, 0).Last
			scanned(m)
			o.ways[by+", "+name] = s
		}
	}
	settled(m)
	dropped := m.Metric(pod, adminPort, "log_shipper_dropped_lines_total")
	m.Need(dropped == 0, "the shipper dropped %.0f lines, and says so: too much waited for this machine", dropped)
	o.lost = storeCounts(m).Struck["cut"] - before.Struck["cut"]
	o.ledger = newLedger(stored(m, before.LastID), first)
	return o
}

func complete(m *check.M) check.Result {
	o := suffer(m, "rotated", "twice at once", "store away", "shipper killed, store failing")
	var ways check.Ways
	for name, s := range o.ways {
		missing := o.ledger.missing(s)
		for i := s.First; i <= s.Last; i++ {
			ways.Way(name).Note(o.ledger.times[i] > 0, "line %d, and %d in all, are not in the store", i, missing)
		}
	}
	return ways.Decide()
}

func noDuplicates(m *check.M) check.Result {
	o := suffer(m, "acknowledgements lost, shipper killed")
	m.Need(o.lost > 0, "no acknowledgement was lost: nothing had to be sent again")
	twice := o.ledger.repeated()
	return check.Decide(twice == 0 && len(o.ledger.torn) == 0, "%d of %d lines are there more than once, %d torn; %d acknowledgements were lost",
		twice, len(o.ledger.times), len(o.ledger.torn), o.lost).Want("none, none").Of(len(o.ledger.records)).
		Because("%v", head(o.ledger.torn))
}

func order(m *check.M) check.Result {
	o := suffer(m, "rotated", "store away")
	streams := map[string]bool{}
	for _, r := range o.ledger.records {
		streams[r.Stream] = true
	}
	m.Need(len(streams) >= 4, "the lines are of %d files: too few", len(streams))
	n := len(o.ledger.records)
	return check.Decide(o.ledger.jumbled == 0 && len(o.ledger.torn) == 0, "%d of %d lines in %d files came before an earlier one, %d torn",
		o.ledger.jumbled, n, len(streams), len(o.ledger.torn)).Want("none, none").Of(n).Because("%v", head(o.ledger.torn))
}

// partialLine begins lines and ends them later: after looks of the shipper, after a rename, after a SIGKILL.
func partialLine(m *check.M) check.Result {
	resume := quiet(m)
	defer resume()
	level(m, 2)
	before := storeCounts(m)
	var ways check.Ways
	begun := map[string]int64{}
	for name, between := range map[string]func(){
		"looked at": func() {},
		"renamed":   func() { rotate(m, "rename", 1) }, // its end goes to the renamed file
		"renamed while the shipper was dead": func() {
			kill(m, func() { rotate(m, "rename", 1) })
		},
	} {
		whole := written(m, 3, 0)
		var half struct{ Number int64 }
		tell(m, "/begin", &half)
		begun[name] = half.Number
		// The lines before it come, and for five times as long as a batch waits it does not.
		m.Await(patience, "the line before the half one", func(m *check.M) error {
			if newLedger(stored(m, before.LastID), 0).times[whole.Last] == 0 {
				return fmt.Errorf("line %d is not there", whole.Last)
			}
			return nil
		})
		held := m.Hold(time.Second, func(m *check.M) error {
			if l := newLedger(stored(m, before.LastID), 0); len(l.torn) > 0 {
				return fmt.Errorf("shipped: %v", head(l.torn))
			}
			return nil
		})
		ways.Way(name).Note(held.Broke == nil, "half a line: %v", held)
		between()
		tell(m, "/end", nil)
	}
	settled(m)
	l := newLedger(stored(m, before.LastID), 0)
	for name, n := range begun {
		ways.Way(name).Note(l.times[n] == 1, "line %d is there %d times", n, l.times[n])
	}
	ways.Way("nothing else").Note(len(l.torn) == 0, "torn: %v", head(l.torn))
	return ways.Decide()
}

func head(list []string) []string { return list[:min(len(list), 5)] }
