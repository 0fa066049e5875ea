package main

// Cursor is how far the slow log was read. IDs alone do not say: they start over when Redis does, so the run ID of the
// process that gave them belongs to it.
type Cursor struct {
	RunID string `json:"run_id"` // empty: nothing was read yet
	Last  int64  `json:"id"`     // the last ID that was read; -1: none of this process
}

// anyProcess stands for the run ID in a cursor that is to know none.
const anyProcess = "any"

// news is what a reply has that was not read before.
type news struct {
	entries       []Entry // oldest first
	lost          int64   // entries that were made and are not in the log any more
	firstLost     int64   // the ID of the first of them
	restarted     bool    // Redis is another process than at the last poll
	started       bool    // this is the first poll of all
	before, after Cursor
}

// advance compares a reply, newest first, with the cursor. It changes nothing: after is the cursor once the news is
// written. Where the cursor knows no process, the IDs before the oldest entry may have been read by an earlier
// run of this program, so they do not count as lost.
func (c Cursor) advance(runID string, log []Entry) news {
	n := news{before: c, after: Cursor{RunID: runID, Last: c.Last}}
	switch {
	case c.RunID == "":
		n.started, n.after.Last = true, -1
	case runID == anyProcess:
	case c.RunID != runID, len(log) > 0 && log[0].ID < c.Last:
		// A newest ID below the last one read: IDs started over, though the run ID, from behind some proxy, is the same.
		n.restarted, n.after.Last = true, -1
	}
	last := n.after.Last
	for i := len(log) - 1; i >= 0; i-- {
		if log[i].ID > last {
			n.entries = append(n.entries, log[i])
		}
	}
	if len(n.entries) == 0 {
		return n // an empty log, or none new, tells nothing: the cursor stays
	}
	n.after.Last = log[0].ID
	if gap := n.entries[0].ID - (last + 1); gap > 0 && !n.started {
		n.lost, n.firstLost = gap, last+1
	}
	return n
}

// reaches says whether a reply goes back as far as the cursor: then nothing new lies beyond its oldest entry.
func (c Cursor) reaches(runID string, log []Entry) bool {
	if len(log) == 0 {
		return true
	}
	last := c.Last
	if c.RunID != runID || log[0].ID < c.Last {
		last = -1
	}
	return log[len(log)-1].ID <= last+1
}
