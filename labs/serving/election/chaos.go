package election

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"distlab/lab/check"
)

// sorted are operations in the order of their calls, or of their answers.
func sorted(ops []operation, by func(operation) time.Duration) []operation {
	ops = slices.Clone(ops)
	slices.SortFunc(ops, func(a, b operation) int { return cmp.Compare(by(a), by(b)) })
	return ops
}

func calls(o operation) time.Duration   { return o.call }
func returns(o operation) time.Duration { return o.ret }

// chaos breaks one thing after the other while clients are at work: a node, the owner's more often than not, or a member of etcd,
// and sometimes the one while the other is still broken.
func chaos(m *check.M) check.Result {
	const rounds = 6
	well(m)
	began := time.Now()
	c := newClients(m, 3)
	var did []string
	rand := m.Rand()
	c.work(m, func(m *check.M) {
		var nodeAway, memberAway []*check.Fault
		for round := range rounds {
			n, member, kind := nodes[rand.IntN(len(nodes))], members[rand.IntN(len(members))], rand.IntN(6)
			if round%2 == 0 {
				kind = rand.IntN(4) // a node's
			}
			hit, both := rand.IntN(4) > 0, rand.IntN(3) == 0
			length := time.Duration(1000+rand.IntN(2000)) * time.Millisecond
			if round%2 == 0 { // longer than a lease
				length += lease
			}
			if !both {
				heal(m, nodeAway)
				heal(m, memberAway)
				nodeAway, memberAway = nil, nil
			}
			what := ""
			if kind < 4 {
				heal(m, nodeAway)
				if owner, there := ownerNow(m); hit && there {
					n = owner
				}
				what, nodeAway = breakNode(m, kind, n)
			} else {
				heal(m, memberAway)
				what, memberAway = breakMember(m, kind, member)
			}
			did = append(did, fmt.Sprintf("%s for %v", what, length))
			m.Hold(length, func(*check.M) error { return nil })
		}
		heal(m, nodeAway)
		heal(m, memberAway)
		well(m)
		c.more(m, 30)
	})
	var ways check.Ways
	ok := c.judge(m, &ways)
	own := terms(m, began)
	apart(&ways, own)
	return ways.Decide().Because("%d of %d operations answered, in %.0f %% of the time, %d terms\n%q", ok, len(c.all()),
		100*available(c.all()), len(own), did)
}

func breakNode(m *check.M, kind int, n node) (what string, faults []*check.Fault) {
	switch kind {
	case 0:
		return "kill " + n.elector, []*check.Fault{m.Kill(n.elector)}
	case 1:
		return "kill " + n.clerk, []*check.Fault{m.Kill(n.clerk)}
	case 2:
		return "freeze " + n.pod, freeze(m, n)
	}
	return "cut " + n.pod, cut(m, n)
}

func breakMember(m *check.M, kind int, member string) (what string, faults []*check.Fault) {
	if kind == 4 {
		return "kill " + member, []*check.Fault{m.Kill(member)}
	}
	return "freeze " + member, []*check.Fault{m.Pause(member)}
}

// ownerNow is who says that it is the owner, if somebody does so at once.
func ownerNow(m *check.M) (owner node, there bool) {
	client := &http.Client{Timeout: time.Second}
	for _, n := range nodes {
		resp, err := client.Get("http://" + m.Address(n.pod, adminPort) + "/status")
		if err != nil {
			continue
		}
		var now told
		err = json.NewDecoder(resp.Body).Decode(&now)
		resp.Body.Close()
		if err == nil && now.Owner {
			return n, true
		}
	}
	return owner, false
}

// available is the share of the time's tenths of seconds in which some operation was answered.
func available(ops []operation) float64 {
	const part = 100 * time.Millisecond
	seen, last := map[time.Duration]bool{}, time.Duration(0)
	for _, o := range ops {
		last = max(last, o.ret/part)
		if o.known {
			seen[o.ret/part] = true
		}
	}
	return float64(len(seen)) / float64(last+1)
}
