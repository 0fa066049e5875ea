package replicated

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"distlab/lab/check"
)

// patience is what the balancer gets to see that a copy is there, or is not, on a machine that is busy.
const patience = 20 * time.Second

// lead is how long a load runs before a change, and after it.
const lead = 1500 * time.Millisecond

// traffic asks for words over kept connections and over new ones, and counts visits, which must not be sent twice. The
// control asks a copy that is not of the set.
func traffic() []check.Flow {
	return []check.Flow{
		{Name: "kept", Rate: 40, URL: door + "/cat"},
		{Name: "anew", Rate: 20, URL: door + "/dog", Args: []string{"-keepalive=false"}},
		{Name: "POST", Rate: 15, URL: door + "/-/session", Args: []string{"-method", "POST"}},
		{Name: "control", Rate: 25, URL: control + "/cat", Control: true},
	}
}

// member is one of the balancer's, by its own account.
type member struct {
	Address string `json:"address"`
	Up      bool   `json:"up"`
	Why     string `json:"why"`
}

// members are those that the balancer knows.
func members(m *check.M) []member {
	var status struct{ Replicas []member }
	m.JSON(balancer, adminPort, "/status", &status)
	return status.Replicas
}

// part asks whether exactly these services take part.
func part(services ...string) func(m *check.M) error {
	return func(m *check.M) error {
		up := []string{}
		for _, r := range members(m) {
			if r.Up {
				up = append(up, r.Address)
			}
		}
		want := []string{}
		for _, s := range services {
			want = append(want, address(m, s))
		}
		slices.Sort(up)
		slices.Sort(want)
		if !slices.Equal(up, want) {
			return fmt.Errorf("%v take part, and not %v", up, want)
		}
		return nil
	}
}

// well waits until what an earlier claim did is over: each of the three copies gives a word. Whether those on stand-by
// take part is for the balancer to say, and where nobody asks for readiness they do.
func well(m *check.M) {
	for _, s := range slices.Concat(copies, spares) {
		m.Await(patience, s+" to be loaded", func(m *check.M) error { return m.Get(s, webPort, "/cat").Is(http.StatusOK) })
	}
	m.Await(patience, "the copies to take part", func(m *check.M) error {
		up := map[string]bool{}
		for _, r := range members(m) {
			up[r.Address] = r.Up
		}
		for _, s := range copies {
			if !up[address(m, s)] {
				return fmt.Errorf("%s does not", s)
			}
		}
		return nil
	})
}

// address is a service's own, as the balancer has it; empty while it is on no network.
func address(m *check.M, service string) string {
	for _, ip := range m.State(service).Networks {
		if ip != "" {
			return fmt.Sprintf("%s:%d", ip, webPort)
		}
	}
	return ""
}

// served is how many words a copy has given or refused, by its own account, in all or with a status.
func served(m *check.M, service string, labels ...string) int {
	return int(m.Counter(service, adminPort, "dictionary_requests_total", append(labels, `page="word"`)...))
}

// refusals is how often a copy has said that it is not ready.
func refusals(m *check.M, service string) int {
	return int(m.Counter(service, adminPort, "dictionary_requests_total", `page="readyz"`, `code="503"`))
}

// ready makes a copy say that it is ready, or that it is not. Healing turns it back.
func ready(m *check.M, service string, yes bool) *check.Fault {
	on, off := []string{"/dictionary", "trouble", "none"}, []string{"/dictionary", "trouble", "unready=true"}
	says := "told to be ready"
	if !yes {
		on, off, says = off, on, "told to be unready"
	}
	return m.Run(service, says, on, off, func(m *check.M) string {
		return strings.TrimSpace(string(m.Get(service, webPort, "/readyz").Body))
	})
}

// ledger counts what was lost by copy and cause, as the balancer does. The series of a copy that has left are taken
// away, so it looks often, and adds up.
type ledger struct {
	mu    sync.Mutex
	names map[string]string // service by address
	last  map[string]int    // of each series
	lost  map[string]int    // by copy and cause
}

var lostLine = regexp.MustCompile(`(?m)^(balancer_failures_total|balancer_requests_total)\{([^}]*)\} ([0-9.e+]+)$`)

// keep has a ledger kept while act runs.
func keep(m *check.M, act func(m *check.M, l *ledger)) *ledger {
	l := &ledger{names: map[string]string{}, last: map[string]int{}, lost: map[string]int{}}
	l.look(m, true)
	l.know(m)
	done := make(chan struct{})
	m.Together(
		func(m *check.M) { defer close(done); act(m, l); l.know(m) },
		func(m *check.M) {
			for over := false; !over; {
				select {
				case <-done:
					over = true
				case <-m.Context().Done():
					return
				case <-time.After(100 * time.Millisecond):
				}
				l.look(m, false)
			}
		},
	)
	return l
}

// know learns whose addresses are whose: a container that starts may get another.
func (l *ledger) know(m *check.M) {
	for _, s := range slices.Concat(copies, spares) {
		if a := address(m, s); a != "" {
			l.mu.Lock()
			l.names[a] = s
			l.mu.Unlock()
		}
	}
}

func (l *ledger) look(m *check.M, first bool) {
	page, err := m.Asked(balancer, adminPort, "/metrics")
	if err != nil || page.Status != http.StatusOK {
		return
	}
	l.read(string(page.Body), first)
}

// read adds what has come since the last page; the first is where it begins.
func (l *ledger) read(page string, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range lostLine.FindAllStringSubmatch(page, -1) {
		labels := labelsOf(line[2])
		cause := labels["reason"]
		if line[1] == "balancer_requests_total" {
			if labels["code"] != "5xx" {
				continue
			}
			cause = "answered 5xx" // its own, and the balancer's for it
		}
		value, err := strconv.ParseFloat(line[3], 64)
		if err != nil {
			continue
		}
		n, series := int(value), line[1]+line[2]
		was := l.last[series]
		if n < was {
			was = 0 // it had left, and is back
		}
		l.last[series] = n
		if n > was && !first {
			l.lost[labels["replica"]+" "+cause] += n - was
		}
	}
}

var label = regexp.MustCompile(`(\w+)="([^"]*)"`)

func labelsOf(text string) map[string]string {
	all := map[string]string{}
	for _, l := range label.FindAllStringSubmatch(text, -1) {
		all[l[1]] = l[2]
	}
	return all
}

// others is what was lost at others than one service: nothing, where it alone is to blame.
func (l *ledger) others(service string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for who, lost := range l.lost {
		addr, _, _ := strings.Cut(who, " ")
		if l.names[addr] != service {
			n += lost
		}
	}
	return n
}

func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, who := range slices.Sorted(maps.Keys(l.lost)) {
		addr, cause, _ := strings.Cut(who, " ")
		name := l.names[addr]
		if name == "" {
			name = addr
		}
		lines = append(lines, fmt.Sprintf("%s %s: %d", name, cause, l.lost[who]))
	}
	if len(lines) == 0 {
		return "lost by copy and cause: nothing"
	}
	return "lost by copy and cause: " + strings.Join(lines, ", ")
}
