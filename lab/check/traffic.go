package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Flow is one open-model load beside an event: one way in which clients come. A control is the same load on a way that
// the lab's subject is not on, the app itself or a neighbour: where the control fails too, the machine was too busy.
type Flow struct {
	Name    string // what is said of it: "HTTP/1.1", "control"
	From    Place
	Rate    int      // requests a second
	Args    []string // further arguments of `probe load`
	URL     string
	Control bool
}

// Traffic is what came of several flows.
type Traffic struct {
	Flows   []Flow
	Answers []LoadAnswer // of each flow
}

// Beside has the flows run while act does something to the lab. They run for lead before it begins, and for as long after it
// is over: what goes wrong late counts too. The series of all of them, and the faults meanwhile, are kept with the run as
// CLAIM-series.json, a second traffic's as CLAIM-series-2.json. A flow must have been answered once before act begins.
func (m *M) Beside(lead time.Duration, flows []Flow, act func()) Traffic {
	loads := make([]*Load, len(flows))
	begin := make([]func(*M), len(flows))
	for i, f := range flows {
		begin[i] = func(part *M) {
			// It is the claim's time that bounds a load: part ends with the start.
			loads[i] = Got(m.Stack.Load(part.ctx, f.From, LoadSpec{Rate: f.Rate, For: 10 * time.Minute, Args: f.Args, URL: f.URL}))
		}
	}
	m.Together(begin...)
	m.pass(lead)
	act()
	m.pass(lead)
	t := Traffic{Flows: flows, Answers: make([]LoadAnswer, len(flows))}
	end := make([]func(*M), len(flows))
	for i := range flows {
		end[i] = func(part *M) { t.Answers[i] = Got(loads[i].Stop(part.ctx)) }
	}
	m.Together(end...)
	m.Record(m.Stack.nextSeries(), t.series(m.Stack))
	return t
}

// pass lets time pass in which a load is measured. It waits for nothing else: a claim that waits for a condition uses
// [M.Until].
func (m *M) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-m.ctx.Done():
	}
	Must(m.ctx.Err())
}

// series is the record of a traffic for a plot.
func (t Traffic) series(s *Stack) []byte {
	type flow struct {
		Name    string    `json:"name"`
		Control bool      `json:"control"`
		Rate    int       `json:"rate"`
		Began   time.Time `json:"began"`
		Series  []Slice   `json:"series"`
		Failed  []Failure `json:"failed"`
	}
	type fault struct {
		Fault string    `json:"fault"`
		From  time.Time `json:"from"`
		To    time.Time `json:"to,omitzero"` // zero: it lasted longer than the load
	}
	record := struct {
		Flows  []flow  `json:"flows"`
		Faults []fault `json:"faults"`
	}{[]flow{}, []fault{}}
	for i, f := range t.Flows {
		a := t.Answers[i]
		record.Flows = append(record.Flows, flow{f.Name, f.Control, f.Rate, a.Began, a.Series, a.Failed})
	}
	s.mu.Lock()
	faults := slices.Clone(s.faults)
	s.mu.Unlock()
	for _, f := range faults {
		f.mu.Lock()
		record.Faults = append(record.Faults, fault{f.receipt.Fault, f.from, f.to})
		f.mu.Unlock()
	}
	return Got(json.Marshal(record))
}

// nextSeries names the record of the claim's next traffic.
func (s *Stack) nextSeries() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.traffics++; s.traffics > 1 {
		return fmt.Sprintf("series-%d.json", s.traffics)
	}
	return "series.json"
}

// sum adds up over the flows of the subject, or over the controls.
func (t Traffic) sum(control bool, of func(LoadAnswer) int) (n int) {
	for i, f := range t.Flows {
		if f.Control == control {
			n += of(t.Answers[i])
		}
	}
	return n
}

// Requests is how many there were but for the controls.
func (t Traffic) Requests() int { return t.sum(false, func(a LoadAnswer) int { return a.Requests }) }

// Failed is how many of those had no whole answer with a status below 400.
func (t Traffic) Failed() int {
	return t.sum(false, func(a LoadAnswer) int { return a.Requests - a.OK })
}

// Lost is how many of those were written and not answered whole: a refused connection loses nothing.
func (t Traffic) Lost() int { return t.sum(false, func(a LoadAnswer) int { return a.Lost }) }

// P99 is the highest of the flows' p99, controls apart.
func (t Traffic) P99() (p time.Duration) {
	for i, f := range t.Flows {
		if !f.Control {
			p = max(p, time.Duration(t.Answers[i].Latency.P99*float64(time.Second)))
		}
	}
	return p
}

// A control that is slower than this in one request of a hundred, or that sends fewer of its requests than this share,
// says that the machine is too busy to count on.
const (
	controlP99  = 500 * time.Millisecond
	controlSent = 0.8
)

// Fair is a result as it may be given: where it is a failure and a control failed or lagged too, it is inconclusive, and
// says how busy the machine was. Details of the flows go with it. A failing result of a traffic without a control stands.
func (t Traffic) Fair(res Result) Result {
	res = res.Because("%s", t.words())
	if res.Verdict != Fail {
		return res
	}
	for i, f := range t.Flows {
		a := t.Answers[i]
		failed := a.Requests - a.OK
		late := time.Duration(a.Latency.P99*float64(time.Second)) > controlP99
		short := a.Rate < controlSent*float64(f.Rate)
		if f.Control && (failed > 0 || late || short) {
			return Unknown("the control failed or lagged too, the machine is too busy (%s); it would have said: %s", busy(), res.Measured).
				Because("%s", t.words())
		}
	}
	return res
}

// words are a line on each flow, and when which of its requests failed.
func (t Traffic) words() string {
	var lines []string
	for i, f := range t.Flows {
		a := t.Answers[i]
		line := fmt.Sprintf("%s: %d of %d requests failed, p99 %.0f ms, longest %.0f ms", f.Name, a.Requests-a.OK, a.Requests,
			1000*a.Latency.P99, 1000*a.Latency.Max)
		whats := map[string][]string{}
		for _, x := range a.Failed {
			whats[x.What] = append(whats[x.What], fmt.Sprintf("%.1f", x.At))
		}
		for _, what := range slices.Sorted(maps.Keys(whats)) {
			at := whats[what]
			if len(at) > 3 {
				at = append(at[:2:2], "…", at[len(at)-1])
			}
			line += fmt.Sprintf("; %d × %s at %s s", len(whats[what]), what, strings.Join(at, ", "))
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// busy is how busy the machine of the tool is, where it tells.
func busy() string {
	text, err := os.ReadFile("/proc/loadavg")
	load, _, _ := strings.Cut(string(text), " ")
	if err != nil || load == "" {
		return fmt.Sprintf("%d CPUs", runtime.NumCPU())
	}
	return fmt.Sprintf("load %s on %d CPUs", load, runtime.NumCPU())
}
