package main

import "time"

// Status is /status.
type Status struct {
	State       string  `json:"state"` // ok or stopping
	Balance     string  `json:"balance"`
	Key         string  `json:"key,omitempty"`
	Sticky      string  `json:"sticky"`
	Fallback    bool    `json:"fallback"`
	Arms        []State `json:"arms"`
	Change      uint64  `json:"change"`  // counts the sets of arms
	Changed     string  `json:"changed"` // when, RFC 3339
	Source      string  `json:"source"`  // of the arms: settings, file or admin
	ReloadError string  `json:"reload_error,omitempty"`
	Connections int     `json:"connections"`
	InFlight    int     `json:"requests_in_flight"`

	Ramp *RampStatus `json:"ramp,omitempty"` // the last one
}

func newStatus(p *Proxy, l *Live, r *Ramps) Status {
	s := Status{
		State:   "ok",
		Balance: p.Splitter.Rules.Balance, Sticky: p.Splitter.Rules.Sticky.Kind, Fallback: p.Splitter.Rules.Fallback,
		Arms: p.Splitter.states(), InFlight: p.Engine().InFlight(),
	}
	switch s.Balance {
	case "hash", "consistent", "split_clients":
		s.Key = p.Splitter.Rules.Key.String()
	}
	s.Connections = p.Engine().Door.Open()
	if p.Engine().Door.Retired() {
		s.State = "stopping"
	}
	s.Ramp = r.Status() // not under l.mu: a ramp holds its own when it changes the arms
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Source, s.Changed, s.Change = l.source, l.time.UTC().Format(time.RFC3339Nano), p.Splitter.changes()
	if l.err != nil {
		s.ReloadError = l.err.Error()
	}
	return s
}
