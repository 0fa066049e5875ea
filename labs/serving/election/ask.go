package election

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// told is what a claim reads of an elector's /status.
type told struct {
	ID      string
	Owner   bool
	Token   int64
	Renewed float64 `json:"since_renewal_seconds"`
	Silent  float64 `json:"silent_seconds"`
	Holder  struct {
		ID    string
		Token int64
	}
}

func ask(m *check.M, n node) told {
	var t told
	m.JSON(n.pod, adminPort, "/status", &t)
	return t
}

// ownerOf is which of these nodes says that it is the owner, and that no other one says so.
func ownerOf(m *check.M, among []node) (owner node, t told, err error) {
	var said []string
	for _, n := range among {
		now := ask(m, n)
		if now.Owner {
			owner, t = n, now
			said = append(said, fmt.Sprintf("%s with token %d", n.pod, now.Token))
		}
	}
	if len(said) != 1 {
		return owner, t, fmt.Errorf("owners: %q", said)
	}
	return owner, t, nil
}

// others are all nodes but one.
func others(than node) (list []node) {
	return slices.DeleteFunc(slices.Clone(nodes), func(n node) bool { return n == than })
}

// well waits until there is one owner, whom all know and to whom the address leads: what an earlier claim did is over.
func well(m *check.M) (owner node, t told) {
	m.Await(patience, "an owner whom all know", func(m *check.M) (err error) {
		if owner, t, err = ownerOf(m, nodes); err != nil {
			return err
		}
		for _, n := range nodes {
			if now := ask(m, n); now.Holder.Token != t.Token {
				return fmt.Errorf("%s knows of token %d, not %d", n.pod, now.Holder.Token, t.Token)
			}
		}
		return leadsTo(m, owner.pod)
	})
	return owner, t
}

// leadsTo is whether the address leads to a node.
func leadsTo(m *check.M, pod string) error {
	var s struct{ Owner *struct{ ID string } }
	m.JSON(proxy, adminPort, "/status", &s)
	if s.Owner == nil || s.Owner.ID != pod {
		return fmt.Errorf("the address leads to %v, not to %s", s.Owner, pod)
	}
	return nil
}

// follows waits until one of these nodes is the owner, with a newer token.
func follows(among []node, than int64, owner *node, t *told) func(m *check.M) error {
	return func(m *check.M) (err error) {
		if *owner, *t, err = ownerOf(m, among); err == nil && t.Token <= than {
			err = fmt.Errorf("the token is %d", t.Token)
		}
		return err
	}
}

// step asks a node to hand over, or to keep out of the election, for so long.
func step(m *check.M, n node, hold time.Duration) {
	p := m.Do("POST", n.pod, adminPort, "/handover?hold="+hold.String(), nil)
	check.Must(p.Is(202))
}

// own makes a node the owner.
func own(m *check.M, pod string) (owner node, t told) {
	for range 5 {
		if owner, t = well(m); owner.pod == pod {
			return owner, t
		}
		for _, n := range nodes {
			if n.pod != pod {
				step(m, n, 3*time.Second)
			}
		}
		m.Await(patience, "another owner", follows(nodes, t.Token, &owner, &t))
	}
	m.Unknown("%s does not become the owner", pod)
	return owner, t
}

// freeze stops a node's elector and app where they are.
func freeze(m *check.M, n node) []*check.Fault {
	return []*check.Fault{m.Pause(n.clerk), m.Pause(n.elector)}
}

func crash(m *check.M, n node) []*check.Fault {
	return []*check.Fault{m.Kill(n.clerk), m.Kill(n.elector)}
}

func cut(m *check.M, n node) []*check.Fault {
	return []*check.Fault{m.Disconnect(n.pod, registry)}
}

// heal mends all at a time: a member of etcd alone is not well.
func heal(m *check.M, faults []*check.Fault) {
	m.Each(len(faults), len(faults), func(m *check.M, i int) { m.Heal(faults[i]) })
}

// beside has something done beside a control: the store, which no election stands before.
func beside(m *check.M, act func()) check.Traffic {
	return m.Beside(300*time.Millisecond, []check.Flow{{
		Name: "control", From: check.Outside, Rate: 20, URL: fmt.Sprintf("http://%s:%d/healthz", ledger, httpPort), Control: true,
	}}, act)
}

// term is a time as the owner, as an elector's log has it.
type term struct {
	token        int64
	id           string
	began, ended time.Time // ended is zero where the elector was killed, or still is the owner
}

// terms are those that began since then, by token.
func terms(m *check.M, since time.Time) (all []term) {
	type line struct {
		Msg          string
		Token        int64
		Began, Ended time.Time
	}
	for _, n := range nodes {
		for _, l := range check.Lines[line](m, n.elector, since) {
			switch l.Msg {
			case "owner":
				all = append(all, term{token: l.Token, id: n.pod, began: l.Began})
			case "no owner any more":
				for i := range all {
					if all[i].token == l.Token {
						all[i].ended = l.Ended
					}
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b term) int { return int(a.token - b.token) })
	return all
}

// stopped is when a node's elector was told to stop.
func stopped(m *check.M, n node, since time.Time) (at time.Time) {
	for _, l := range check.Lines[struct {
		Time time.Time
		Msg  string
	}](m, n.elector, since) {
		if l.Msg == "draining" {
			at = l.Time
		}
	}
	return at
}

// apart notes whether each term had ended when the next began, by the electors' own account, where it is known when it ended. They
// are on one machine, and so have one time of day.
func apart(ways *check.Ways, all []term) {
	for i := 1; i < len(all); i++ {
		if before := all[i-1]; !before.ended.IsZero() {
			ways.Way("by the electors' own account").Note(!before.ended.After(all[i].began), "%s began with token %d when %s still was the owner for %v",
				all[i].id, all[i].token, before.id, before.ended.Sub(all[i].began))
		}
	}
}

// leader is the member that etcd has as its own leader.
func leader(m *check.M) string {
	for _, at := range members {
		// The gateway of a member tells its ID and the leader's.
		out := m.Exec(at, "etcdctl", "endpoint", "status", "--write-out=fields")
		var id, lead string
		for line := range strings.Lines(out) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch strings.Trim(name, `" `) {
			case "MemberID":
				id = strings.TrimSpace(value)
			case "Leader":
				lead = strings.TrimSpace(value)
			}
		}
		if id != "" && id == lead {
			return at
		}
	}
	m.Unknown("etcd has no leader")
	return ""
}
