package follow

import "time"

// Entry is what a checkpoint keeps of a generation: enough to find it again, under whatever name, and to see whether what
// lies in its inode still is it.
type Entry struct {
	Stream string      `json:"stream"`
	Source string      `json:"source"`
	Path   string      `json:"path"`
	ID     ID          `json:"id"`
	Print  Fingerprint `json:"fingerprint"`
	Acked  Position    `json:"acknowledged"`
	Size   int64       `json:"size"`             // when last seen: what was never read of a file that is gone
	Orphan bool        `json:"orphan,omitempty"` // its inode has another content
}

// Entries are all generations, oldest first.
func (f *Follower) Entries() []Entry {
	list := make([]Entry, 0, len(f.generations))
	for _, g := range f.generations {
		list = append(list, Entry{g.Stream, g.Source, g.path, g.id, g.print, g.acked, g.size, g.state == orphan})
	}
	return list
}

// Looked is when the names were looked at last: the entries say nothing of what came later. A checkpoint keeps it.
func (f *Follower) Looked() time.Time {
	if f.looked.IsZero() {
		return f.since
	}
	return f.looked
}

// Restore takes up what a checkpoint has, before the first scan.
func (f *Follower) Restore(entries []Entry, looked time.Time) {
	for _, e := range entries {
		g := &Generation{
			Stream: e.Stream, Source: e.Source, path: e.Path, id: e.ID, print: e.Print,
			read: e.Acked, acked: e.Acked, size: e.Size, state: closed, loaded: true,
		}
		if e.Orphan {
			g.state, g.loaded = orphan, false
		}
		f.generations = append(f.generations, g)
	}
	f.since = looked
}

// Totals are what waits, where.
type Totals struct {
	Open    int   // files
	Unread  int64 // bytes not handed out
	Waiting int64 // bytes on the disk that wait for the shipper
	Held    int64 // of these, bytes of files that no name leads to
}

// Totals adds up all generations.
func (f *Follower) Totals() (t Totals) {
	for _, g := range f.generations {
		if g.state != open {
			continue
		}
		t.Open++
		t.Unread += g.unread()
		t.Waiting += g.waiting()
		if g.deleted {
			t.Held += g.size
		}
	}
	return t
}

// Waiting is the space on the disk that waits for the shipper.
func (f *Follower) Waiting() int64 { return f.Totals().Waiting }

// State is one generation, for people.
type State struct {
	Stream  string `json:"stream"`
	Source  string `json:"source"`
	Path    string `json:"path"`
	State   string `json:"state"`
	Rotated bool   `json:"rotated"`
	Deleted bool   `json:"deleted"`
	Size    int64  `json:"size"`
	Read    int64  `json:"read"`
	Acked   int64  `json:"acknowledged"`
}

// States are all generations, oldest first.
func (f *Follower) States() []State {
	list := make([]State, 0, len(f.generations))
	for _, g := range f.generations {
		list = append(list, State{
			g.Stream, g.Source, g.path, string(g.state), !g.rotated.IsZero(), g.deleted, g.size, g.read.Offset, g.acked.Offset,
		})
	}
	return list
}
