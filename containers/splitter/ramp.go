package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"distlab/containers/splitter/trial"
)

// RampPlan is a way from one share of the traffic to another. At each of its
// looks the experiment is compared with production, and the share moves on, or
// all goes back to what it was before.
type RampPlan struct {
	Arm     string       `json:"arm"`
	Control string       `json:"control,omitempty"` // whom to compare with; "": the arm with the largest weight
	From    float64      `json:"from"`              // percent of the traffic
	To      float64      `json:"to"`
	Over    jsonDuration `json:"over"`         // from the one to the other
	Hold    jsonDuration `json:"hold"`         // and how long to look on from there
	Looks   int          `json:"looks"`        // on the way; 0 is 100
	Alpha   float64      `json:"alpha"`        // chance that a good experiment is sent back, in the whole ramp; 0 is 0.01
	Least   int          `json:"min_requests"` // of each arm between two looks, else the ramp waits; 0 is 20

	// What slower means: by more than so many percent, and so much time. An arm
	// with little traffic is always a little slower: its caches are cold. What
	// is not given is 5, and 1ms.
	SlowerPercent *float64      `json:"slower_percent,omitempty"`
	SlowerTime    *jsonDuration `json:"slower_time,omitempty"`
}

// jsonDuration is written as Go's are: "10m".
type jsonDuration time.Duration

// UnmarshalText parses one.
func (d *jsonDuration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration like 10m", text)
	}
	*d = jsonDuration(v)
	return nil
}

// MarshalText writes it.
func (d jsonDuration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (p *RampPlan) check(arms []ArmSpec) error {
	if p.Looks == 0 {
		p.Looks = 100
	}
	if p.Alpha == 0 {
		p.Alpha = 0.01
	}
	if p.Least == 0 {
		p.Least = 20
	}
	if p.SlowerPercent == nil {
		p.SlowerPercent = new(float64)
		*p.SlowerPercent = 5
	}
	if p.SlowerTime == nil {
		p.SlowerTime = new(jsonDuration)
		*p.SlowerTime = jsonDuration(time.Millisecond)
	}
	if p.Control == "" {
		most := 0
		for _, a := range arms {
			if a.Name != p.Arm && a.Weight > most {
				p.Control, most = a.Name, a.Weight
			}
		}
	}
	known := map[string]bool{}
	for _, a := range arms {
		known[a.Name] = !a.Down && !a.Drain
	}
	switch {
	case !known[p.Arm]:
		return fmt.Errorf("arm %q: not there, or out of service", p.Arm)
	case !known[p.Control] || p.Control == p.Arm:
		return fmt.Errorf("control %q: not there, or out of service", p.Control)
	case !(p.From >= 0.01 && p.From <= p.To && p.To <= 99):
		return errors.New("from and to: percents, 0.01 <= from <= to <= 99")
	case p.Over <= 0:
		return errors.New("over: a duration like 10m")
	case p.Looks < 1 || p.Looks > 10000:
		return errors.New("looks: 1 to 10000")
	case time.Duration(p.Over)/time.Duration(p.Looks) < time.Millisecond:
		return errors.New("over: less than a millisecond for each look")
	case !(p.Alpha > 0 && p.Alpha < 1):
		return errors.New("alpha: more than 0, less than 1")
	case !(*p.SlowerPercent >= 0):
		return errors.New("slower_percent: 0 or more")
	case p.Least < 1:
		return errors.New("min_requests: 1 or more")
	}
	return nil
}

func (p *RampPlan) interval() time.Duration { return time.Duration(p.Over) / time.Duration(p.Looks) }

// total is how many looks there are, those of the hold too.
func (p *RampPlan) total() int {
	return p.Looks + int(math.Ceil(float64(p.Hold)/float64(p.interval())))
}

// level is what a p-value of one look must be below: alpha, divided among both
// tests and all looks. By the union bound this holds whatever the looks have
// to do with each other.
func (p *RampPlan) level() float64 { return p.Alpha / float64(2*p.total()) }

func (p *RampPlan) share(look int) float64 {
	return p.From + (p.To-p.From)*math.Min(1, float64(look)/float64(p.Looks))
}

// Ramp is one that runs, or has ended.
type Ramp struct {
	Plan RampPlan
	live *Live
	log  *slog.Logger

	experiment, control *Arm
	before              []ArmSpec
	cancel              context.CancelFunc

	mu      sync.Mutex // guards the following
	change  uint64     // the set of arms that it made last
	state   string     // running, waiting, done, rolled_back or stopped
	reason  string
	look    int
	away    int // ticks in a row in which the experiment was out
	samples [2]sample
	errors  trial.Errors
	latency trial.Latency
	counts  [2]trial.Count // of the whole ramp
	began   time.Time
	ended   time.Time
}

// sample is one arm's, since the last look.
type sample struct {
	trial.Count
	took []float64 // seconds; at most maxSample
	good int       // answers that took could hold
}

// maxSample bounds what is kept of an arm's latencies between two looks.
const maxSample = 256

// observe adds an outcome. Errors are failures, answers of 500 and more, and
// clients that did not wait for one; latency is that of the other answers.
func (r *Ramp) observe(a *Arm, o Outcome) {
	i := 0
	switch a {
	case r.experiment:
	case r.control:
		i = 1
	default:
		return
	}
	if o.Kind == Unknown && !o.Left {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.samples[i]
	s.All++
	if o.Kind == Failed || o.Status >= 500 || o.Left {
		s.Bad++
		return
	}
	took := o.Took.Seconds()
	if i == 0 {
		// The test asks whether it is slower still when it is given this.
		took = took/(1+*r.Plan.SlowerPercent/100) - time.Duration(*r.Plan.SlowerTime).Seconds()
	}
	s.add(took)
}

// tick looks, if it is time and there is enough to see. It is false at the
// end.
func (r *Ramp) tick() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != "running" && r.state != "waiting" {
		return false
	}
	if r.isAway() {
		return r.back("the experiment is out of service")
	}
	if r.samples[0].All < r.Plan.Least || r.samples[1].All < r.Plan.Least {
		r.state = "waiting"
		return true
	}
	r.state = "running"
	r.look++
	r.compare()
	errs, latency, level := r.errors.P(), r.latency.P(), r.Plan.level()
	switch {
	case errs < level:
		return r.back(fmt.Sprintf("more errors: %d of %d, %s %d of %d; p = %.2g < %.2g",
			r.counts[0].Bad, r.counts[0].All, r.Plan.Control, r.counts[1].Bad, r.counts[1].All, errs, level))
	case latency < level:
		return r.back(fmt.Sprintf("slower: p = %.2g < %.2g", latency, level))
	case r.look >= r.Plan.total():
		if r.use(r.Plan.share(r.look)) {
			r.end("done", "")
		}
		return false
	}
	return r.use(r.Plan.share(r.look))
}

func (r *Ramp) compare() {
	s := &r.samples
	r.errors.Add(s[0].Count, s[1].Count)
	r.latency.Add(s[0].took, s[1].took)
	for i := range s {
		r.counts[i].Bad += s[i].Bad
		r.counts[i].All += s[i].All
		s[i] = sample{}
	}
}

// awayTicks is how often in a row the experiment must be out: one that is left
// by everybody gets no requests, and no test sees it.
const awayTicks = 3

func (r *Ramp) isAway() bool {
	if r.live.Splitter.out(r.experiment) {
		r.away++
	} else {
		r.away = 0
	}
	return r.away >= awayTicks
}

// use gives the experiment its share. It is false, and the ramp stopped, if
// somebody else has changed the arms.
func (r *Ramp) use(share float64) bool {
	err := r.set(func(arms []ArmSpec) []ArmSpec {
		return withShare(arms, r.Plan.Arm, share, r.live.Splitter.Rules.Balance == "consistent")
	})
	if err != nil {
		r.end("stopped", err.Error())
	}
	return err == nil
}

var errChanged = errors.New("the arms were changed")

func (r *Ramp) set(edit func([]ArmSpec) []ArmSpec) error {
	change, err := r.live.change("ramp", "ramp", func(arms []ArmSpec) ([]ArmSpec, error) {
		if r.change != 0 && r.live.Splitter.changes() != r.change {
			return nil, errChanged
		}
		return edit(arms), nil
	})
	if err == nil {
		r.change = change
	}
	return err
}

// back undoes the ramp: the arms are as before it, and whoever a cookie has
// put into the experiment since is free.
func (r *Ramp) back(reason string) bool {
	r.live.Splitter.evict(r.experiment)
	if err := r.set(func([]ArmSpec) []ArmSpec { return r.before }); err != nil {
		r.end("stopped", reason+", but "+err.Error())
		return false
	}
	r.end("rolled_back", reason)
	return false
}

func (r *Ramp) end(state, reason string) {
	r.state, r.reason, r.ended = state, reason, time.Now()
	r.live.Metrics.ramps.WithLabelValues(state).Inc()
	level := slog.LevelInfo
	if state == "rolled_back" {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, "ramp ended", "arm", r.Plan.Arm, "state", state, "reason", reason, "look", r.look)
}

// withShare gives one arm so many percent, and the others the rest, in the
// proportions that they have.
func withShare(arms []ArmSpec, name string, percent float64, coarse bool) []ArmSpec {
	total := 10000
	if coarse {
		total = 100 // each unit is 160 points on the ring
	}
	others := 0
	for _, a := range arms {
		if a.Name != name {
			others += a.Weight
		}
	}
	own := min(max(1, int(math.Round(percent/100*float64(total)))), total-1)
	for i := range arms {
		switch {
		case arms[i].Name == name:
			arms[i].Weight = own
		case arms[i].Weight > 0:
			arms[i].Weight = max(1, (total-own)*arms[i].Weight/others)
		}
	}
	return arms
}
