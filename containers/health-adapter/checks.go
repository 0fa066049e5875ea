package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Maintenance is an operator's switch: while it is on, nobody is sent to the server, and nobody restarts it either.
type Maintenance struct {
	File string // on while it exists; "" is none
	on   atomic.Bool
	ever atomic.Bool // on at some time in this process's life
}

// Switch turns it on or off. A file that is there keeps it on.
func (m *Maintenance) Switch(on bool) { m.on.Store(on) }

// On looks at the file each time: it is a stat, and nobody has to tell that the file is there. A file that cannot be looked
// at may be there: then nobody is sent to the server, nor does anybody restart it.
func (m *Maintenance) On() bool {
	on := m.on.Load()
	if !on && m.File != "" {
		_, err := os.Stat(m.File)
		on = !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
	}
	if on {
		m.ever.Store(true)
	}
	return on
}

// Ended says that there was maintenance once, and is none now.
func (m *Maintenance) Ended() bool { return !m.On() && m.ever.Load() }

// Checks are the two questions and the switch.
type Checks struct {
	Live, Ready *Health
	Maintenance *Maintenance
}

// Answer is what is said to who asks, in each of its forms.
type Answer struct {
	Check     string    `json:"check"`
	Status    string    `json:"status"` // up, down, maintenance, unknown
	Reason    string    `json:"reason,omitempty"`
	Age       float64   `json:"age_seconds"` // of what is said, since its check ended
	Took      float64   `json:"took_seconds"`
	Cached    bool      `json:"cached"`
	Failures  int       `json:"failures"`  // checks in a row
	Successes int       `json:"successes"` // checks in a row
	Since     time.Time `json:"since,omitzero"`
	Lag       *float64  `json:"lag_seconds,omitempty"` // of a replica, where it is asked

	// OK is whether the status code is 200. In maintenance a server is not ready, but nobody shall restart it.
	OK bool `json:"-"`
}

// Ask is the answer of one check, which is made unless there is maintenance or a result that is young enough.
func (c *Checks) Ask(ctx context.Context, h *Health) Answer {
	if c.Maintenance.On() {
		a := answer(h, h.Last())
		a.Status, a.Reason, a.OK = "maintenance", "switched on by an operator", h == c.Live
		return a
	}
	return answer(h, h.Get(ctx))
}

func answer(h *Health, r Report) Answer {
	a := Answer{
		Check: h.Name, Status: r.status(), Reason: r.Reason, Took: r.Took.Seconds(), Cached: r.Cached,
		Failures: r.Failures, Successes: r.Successes, Since: r.Since.UTC(), OK: r.known() && r.Up,
	}
	if r.known() {
		a.Age = time.Since(r.At).Seconds()
	} else {
		a.Since = time.Time{}
	}
	if r.Finding.Replica {
		lag := r.Finding.Lag.Seconds()
		a.Lag = &lag
	}
	return a
}

// status is for /status: what is known, without a check.
func (c *Checks) status() any {
	return map[string]any{
		"maintenance": c.Maintenance.On(),
		"live":        answer(c.Live, c.Live.Last()),
		"ready":       answer(c.Ready, c.Ready.Last()),
	}
}
