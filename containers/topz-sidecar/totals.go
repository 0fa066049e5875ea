package main

import (
	"sync"
	"time"
)

// otherGroups is where processes are counted whose group is one too many: who starts processes under ever new names must
// not fill the memory of this program, nor that of whoever keeps its metrics.
const otherGroups = "other"

// Totals are what each group has taken since this program began to look: they only grow, also when processes end.
type Totals struct {
	Most int // groups

	mu     sync.Mutex // guards the following
	groups map[string]*Total
	last   map[id]stored
}

// Total is one group.
type Total struct {
	CPU         time.Duration // of its processes, the ended ones too
	Read, Wrote uint64
	Begun       int // processes first seen since this program's first look

	// As of the last look.
	Processes, Threads, Files, Denied int
	Resident                          uint64
}

// stored is what a process had read and written at the last look.
type stored struct{ read, wrote uint64 }

// add counts a look.
func (t *Totals) add(scan Scan, uses map[id]Use, names map[id]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.last == nil
	if first {
		t.groups = map[string]*Total{}
	}
	for _, g := range t.groups {
		g.Processes, g.Threads, g.Files, g.Denied, g.Resident = 0, 0, 0, 0, 0
	}
	now := make(map[id]stored, len(scan.Processes))
	for _, p := range scan.Processes {
		key := p.id()
		g := t.group(names[key])
		g.Processes++
		g.Threads += p.Threads
		g.Resident += p.Resident
		if p.Files != nil {
			g.Files += *p.Files
		}
		if len(p.Denied) > 0 {
			g.Denied++
		}
		g.CPU += uses[key].Own + uses[key].Children

		before, known := t.last[key]
		if !known && !first {
			g.Begun++
		}
		if p.Read == nil || p.Wrote == nil {
			now[key] = before
			continue
		}
		now[key] = stored{*p.Read, *p.Wrote}
		if known || !first {
			g.Read += *p.Read - min(before.read, *p.Read)
			g.Wrote += *p.Wrote - min(before.wrote, *p.Wrote)
		}
	}
	t.last = now
}

// group is the total of a name, made if there is room.
func (t *Totals) group(name string) *Total {
	g := t.groups[name]
	if g == nil && len(t.groups) >= t.Most {
		name = otherGroups
		g = t.groups[name]
	}
	if g == nil {
		g = &Total{}
		t.groups[name] = g
	}
	return g
}

// all is a copy of every group.
func (t *Totals) all() map[string]Total {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make(map[string]Total, len(t.groups))
	for name, g := range t.groups {
		list[name] = *g
	}
	return list
}
