package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"distlab/containers/internal/whole"
)

// Told is what the app is told, by HTTP and in the file.
type Told struct {
	Election string    `json:"election"`
	ID       string    `json:"id"`
	Owner    bool      `json:"owner"`             // this candidate is the owner
	Token    int64     `json:"token,omitempty"`   // with which it writes
	Left     float64   `json:"left_seconds"`      // how long that holds without another renewal
	Until    time.Time `json:"until,omitzero"`    // the same as a time of day: in a file it must be looked at
	Holder   *Holder   `json:"holder,omitempty"`  // who has the key, as last heard
	Silent   float64   `json:"silent_seconds"`    // since the store last answered
	Trouble  string    `json:"trouble,omitempty"` // why it does not
	Renewed  float64   `json:"since_renewal_seconds,omitempty"`
}

// Told is the state of this moment.
func (e *Elector) Told() Told {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.Clock()
	t, left := e.ownerLocked()
	told := Told{Election: e.Election, ID: e.ID, Owner: t != nil, Silent: (now - e.heard).Seconds()}
	if e.trouble != nil {
		told.Trouble = e.trouble.Error()
	}
	if t != nil {
		told.Token, told.Left, told.Until = t.Token, left.Seconds(), time.Now().Add(left)
	}
	if e.term != nil {
		told.Renewed = (now - e.renewed).Seconds()
	}
	if h := e.holder; h.ID != "" {
		told.Holder = &h
	}
	return told
}

// Status is /status: what the app is told, and the terms that were.
type Status struct {
	Told
	Lease    string `json:"lease_duration"`
	Deadline string `json:"renew_deadline"`
	Terms    []Term `json:"terms"` // this candidate's, the newest last
}

// Status is the state of this moment, with what was before.
func (e *Elector) Status() Status {
	s := Status{Told: e.Told(), Lease: e.Lease.String(), Deadline: e.Deadline.String(), Terms: []Term{}}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Terms = append(s.Terms, e.past...)
	if t, _ := e.ownerLocked(); t != nil {
		s.Terms = append(s.Terms, *t)
	}
	return s
}

// Server tells the app.
//
//	GET /        200, and what there is to say
//	GET /owner   200 if this candidate is the owner, with the token; 421 if another one is, 503 if nobody is known to be
func (e *Elector) Server() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, e.Told()) })
	mux.HandleFunc("GET /owner", func(w http.ResponseWriter, _ *http.Request) {
		told := e.Told()
		switch {
		case told.Owner:
			w.Header().Set("Fencing-Token", strconv.FormatInt(told.Token, 10))
			answer(w, http.StatusOK, told)
		case told.Holder != nil && told.Holder.ID != e.ID:
			w.Header().Set("Owner-Address", told.Holder.Address)
			answer(w, http.StatusMisdirectedRequest, told)
		default:
			w.Header().Set("Retry-After", "1")
			answer(w, http.StatusServiceUnavailable, told)
		}
	})
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
	}
}

func answer(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts, numbers and times
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // it is true now
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}

// longestHold bounds what a request may keep a candidate out for.
const longestHold = time.Hour

// serveHandover is POST /handover?hold=5s, on the admin port.
func (e *Elector) serveHandover(w http.ResponseWriter, r *http.Request) {
	hold := 2 * e.Retry
	if text := r.URL.Query().Get("hold"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > longestHold {
			http.Error(w, fmt.Sprintf("hold=%.40q: not a duration from 0s to %v", text, longestHold), http.StatusBadRequest)
			return
		}
		hold = d
	}
	e.Handover(hold)
	w.WriteHeader(http.StatusAccepted)
}

// tell writes the file.
func (e *Elector) tell() error {
	if e.StatePath == "" {
		return nil
	}
	e.writing.Lock()
	defer e.writing.Unlock()
	text, err := json.Marshal(e.Told())
	if err != nil {
		return err
	}
	return whole.Write(e.StatePath, append(text, '\n'), 0o644)
}

func (e *Elector) tellOrWarn() {
	if err := e.tell(); err != nil {
		e.Log.Warn("the file cannot be written", "path", e.StatePath, "error", err)
	}
}
