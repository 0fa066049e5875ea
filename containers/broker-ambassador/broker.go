package main

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"distlab/containers/internal/daemon"

	"github.com/prometheus/client_golang/prometheus"
)

// Broker listens to the registries for all services, keeps what they say, and tells what it knows.
type Broker struct {
	Process   *daemon.Process
	Services  []*Service
	StateFile string
	Pause     time.Duration // after a failure of a registry

	change, save chan struct{}
	work         sync.WaitGroup
}

// poke wakes who waits, once however often it is called.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Start begins with what was kept, and listens to the registries until ctx is done.
func (b *Broker) Start(ctx context.Context, sources map[Source][]string) {
	state, err := readState(b.StateFile)
	if err != nil {
		b.Process.Log.Warn("state file not used", "path", b.StateFile, "error", err)
	}
	for _, s := range b.Services {
		s.Start(ctx, keptFor(s, state), "the registry has not answered yet")
	}
	b.judge()
	for source, names := range sources {
		b.work.Go(func() { b.listen(ctx, source, names) })
	}
	b.work.Go(func() { b.look(ctx) })
}

// keptFor is what a service may begin with: of its own environment, and not too old.
func keptFor(s *Service, state map[string]Kept) Kept {
	kept := state[s.Name]
	if kept.Select != s.Select.String() || time.Since(kept.Confirmed) > s.Policy.Keep {
		return Kept{}
	}
	return kept
}

// Wait returns when all that Start began has ended.
func (b *Broker) Wait() { b.work.Wait() }

func (b *Broker) listen(ctx context.Context, source Source, names []string) {
	for {
		answer, err := source.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		for _, s := range b.Services {
			for _, n := range names {
				if s.Name == n {
					s.Hear(answer, err)
				}
			}
		}
		if err == nil {
			continue
		}
		select {
		case <-time.After(b.Pause):
		case <-ctx.Done():
			return
		}
	}
}

// saveEvery is how old the time in the state file may be: it makes an answer look older than it is, not younger.
const saveEvery = time.Minute

// look keeps readiness and the state file as things are.
func (b *Broker) look(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	saved := time.Now()
	for {
		select {
		case <-b.change:
			b.judge()
		case <-b.save:
			b.write()
			saved = time.Now()
		case <-tick.C:
			for _, s := range b.Services {
				s.Tick()
			}
			if time.Since(saved) > saveEvery {
				poke(b.save)
			}
		case <-ctx.Done():
			b.write()
			return
		}
	}
}

func (b *Broker) judge() {
	var reasons []string
	for _, s := range b.Services {
		if ok, why := s.Ready(); !ok {
			reasons = append(reasons, why)
		}
	}
	b.Process.Ready(len(reasons) == 0, strings.Join(reasons, "; "))
}

// write keeps what is known. Nothing known is nothing to keep.
func (b *Broker) write() {
	if b.StateFile == "" {
		return
	}
	state := map[string]Kept{}
	for _, s := range b.Services {
		if kept := s.Kept(); len(kept.Instances) > 0 {
			state[s.Name] = kept
		}
	}
	if len(state) == 0 {
		return
	}
	if err := writeState(b.StateFile, state); err != nil {
		b.Process.Log.Error("state file not written", "path", b.StateFile, "error", err)
	}
}

// Status is /status.
type Status struct {
	Services []ServiceStatus `json:"services"`
}

// ServiceStatus is where a service goes, and why.
type ServiceStatus struct {
	Service   string            `json:"service"`
	Listen    string            `json:"listen"`
	Select    string            `json:"select,omitempty"`
	Ready     bool              `json:"ready"`
	Reason    string            `json:"reason,omitempty"` // why not
	Version   string            `json:"version"`          // of the answer that is used
	From      string            `json:"from"`             // registry or disk
	Age       float64           `json:"age_seconds"`      // since a registry confirmed it
	Stale     bool              `json:"stale"`
	Doubt     string            `json:"doubt,omitempty"`   // why newer ones are not believed
	Garbled   map[string]string `json:"garbled,omitempty"` // registrations that cannot be read, whosever they are
	Instances []InstanceStatus  `json:"instances"`
}

// InstanceStatus is an instance.
type InstanceStatus struct {
	ID          string            `json:"id"`
	Address     string            `json:"address"`
	Labels      map[string]string `json:"labels,omitempty"`
	State       string            `json:"state"` // checking, up, failing or leaving
	Why         string            `json:"why,omitempty"`
	For         float64           `json:"for_seconds"`
	Connections int               `json:"connections"`
}

// Status is as things are now.
func (b *Broker) Status(listen map[string]string) Status {
	all := Status{}
	for _, s := range b.Services {
		one := s.status()
		one.Listen = listen[s.Name]
		all.Services = append(all.Services, one)
	}
	return all
}

func (s *Service) status() ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := ServiceStatus{
		Service: s.Name, Select: s.Select.String(), Version: s.version, From: cmp.Or(s.from, "nowhere"), Age: s.age(),
		Stale: s.doubt != "", Doubt: s.doubt, Garbled: s.garbled, Instances: []InstanceStatus{},
	}
	st.Ready, st.Reason = s.ready()
	for _, b := range s.backends {
		st.Instances = append(st.Instances, InstanceStatus{
			b.ID, b.Address, b.Labels, b.shown(), b.why, time.Since(b.since).Seconds(), b.open,
		})
	}
	return st
}

// collector is the metrics.
type collector struct{ broker *Broker }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("broker_ambassador_"+name, help, append([]string{"service"}, labels...), nil)
}

var (
	descConnections = desc("connections_total", "Connections passed on to an instance.")
	descRefused     = desc("refused_total", "Connections of the app that were reset: no instance could be used, or there were too many.")
	descRetried     = desc("retried_total", "Instances that could not be connected to for the app; the next was tried.")
	descCut         = desc("cut_total", "Connections that were ended because their instance had left for longer than LEAVE_TIMEOUT.")
	descChecks      = desc("checks_failed_total", "Checks of instances that failed.")
	descOpen        = desc("open_connections", "Connections that are open, to instances in that state.", "state")
	descInstances   = desc("instances", "Instances, by state.", "state")
	descAge         = desc("registry_age_seconds", "Since a registry confirmed the answer that is used.")
	descStale       = desc("registry_stale", "Whether the registry does not answer, or is not believed.")
)

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descConnections, descRefused, descRetried, descCut, descChecks, descOpen, descInstances, descAge, descStale,
	} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.broker.Services {
		st := s.status()
		s.mu.Lock()
		n := s.counts
		s.mu.Unlock()
		counter := func(d *prometheus.Desc, v uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), s.Name)
		}
		counter(descConnections, n.connections)
		counter(descRefused, n.refused)
		counter(descRetried, n.retried)
		counter(descCut, n.cut)
		counter(descChecks, n.checksFailed)
		open, count := map[string]int{}, map[string]int{}
		for _, in := range st.Instances {
			count[in.State]++
			open[in.State] += in.Connections
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{s.Name}, labels...)...)
		}
		for _, state := range []string{checking, up, failing, leaving} {
			gauge(descOpen, float64(open[state]), state)
			gauge(descInstances, float64(count[state]), state)
		}
		gauge(descAge, st.Age)
		stale := 0.0
		if st.Stale {
			stale = 1
		}
		gauge(descStale, stale)
	}
}
