package main

import "time"

// Meter makes of two looks at the processes what each of them took between.
//
// A process that was started and ended between two looks is never seen. But its time is not lost: the kernel adds it to
// its parent, once that has waited for it. So a parent's Reaped is watched as well, and what in it was counted already,
// while the child was alive, is taken off.
type Meter struct {
	// Lifetime takes the average since a process's start in place of two looks, as ps does.
	Lifetime bool
	// LiveOnly leaves out what ended children took.
	LiveOnly bool

	last map[id]*Process
	owed map[id]debt
}

// debt is processor time of ended children that was counted while they lived: their parent's Reaped will have it again.
type debt struct {
	time  time.Duration
	looks int // for which it has waited
}

// patience is for how many looks a debt waits. A parent that ignores its children (SIGCHLD) never pays.
const patience = 3

// Use is what a process took between two looks.
type Use struct {
	Over     time.Duration // the time between; 0: it was seen for the first time
	Own      time.Duration
	Children time.Duration // of children that have ended, not counted before
}

// Share is a part of a Use in processors; ok is false where there is no time to divide by.
func share(part, over time.Duration) (cores float64, ok bool) {
	if over <= 0 {
		return 0, false
	}
	return part.Seconds() / over.Seconds(), true
}

// Add compares a scan with the one before it.
func (m *Meter) Add(scan Scan) map[id]Use {
	first := m.last == nil
	now := make(map[id]*Process, len(scan.Processes))
	byPID := make(map[int]*Process, len(scan.Processes))
	for _, p := range scan.Processes {
		now[p.id()], byPID[p.PID] = p, p
	}
	m.collect(now, byPID)
	uses := make(map[id]Use, len(now))
	for key, p := range now {
		switch before := m.last[key]; {
		case before != nil:
			u := Use{Over: p.At.Sub(before.At), Own: max(p.Own-before.Own, 0)}
			u.Children = m.pay(key, max(p.Reaped-before.Reaped, 0))
			uses[key] = u
		case first:
			uses[key] = Use{} // what it took before anybody looked belongs to no time
		default:
			// Begun since the last look: all that it took falls into this time.
			uses[key] = Use{Over: p.At.Sub(m.at()), Own: p.Own, Children: m.pay(key, p.Reaped)}
		}
	}
	m.last = now
	return uses
}

// at is when the last look began, near enough for a process that was not there.
func (m *Meter) at() (t time.Time) {
	for _, p := range m.last {
		if t.IsZero() || p.At.Before(t) {
			t = p.At
		}
	}
	return t
}

// collect notes what those who are gone since the last look have taken, as a debt of the nearest ancestor that is left.
func (m *Meter) collect(now map[id]*Process, byPID map[int]*Process) {
	next := map[id]debt{}
	for key, d := range m.owed {
		if d.looks++; d.looks < patience && now[key] != nil && d.time > 0 {
			next[key] = d
		}
	}
	before := make(map[int]*Process, len(m.last))
	for _, p := range m.last {
		before[p.PID] = p
	}
	for key, gone := range m.last {
		if now[key] != nil || gone.Own+gone.Reaped == 0 {
			continue
		}
		heir := ancestor(gone, before, now)
		if heir == nil {
			heir = byPID[1] // orphans are its
		}
		if heir != nil {
			d := next[heir.id()]
			// Of what the dead had from children of their own, a part is a debt to them already.
			d.time += max(gone.Own+gone.Reaped-m.owed[key].time, 0)
			d.looks = 0
			next[heir.id()] = d
		}
	}
	m.owed = next
}

// ancestor is the nearest one of a process, at the last look, that is still there.
func ancestor(p *Process, before map[int]*Process, now map[id]*Process) *Process {
	for range len(before) {
		if p = before[p.Parent]; p == nil {
			return nil
		}
		if alive := now[p.id()]; alive != nil {
			return alive
		}
	}
	return nil
}

// pay takes off what is owed.
func (m *Meter) pay(key id, reaped time.Duration) time.Duration {
	if m.LiveOnly {
		return 0
	}
	d := m.owed[key]
	paid := min(d.time, reaped)
	if d.time -= paid; d.time == 0 {
		delete(m.owed, key)
	} else {
		m.owed[key] = d
	}
	return reaped - paid
}
