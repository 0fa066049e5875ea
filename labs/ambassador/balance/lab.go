// Package balance is the lab ambassador/balance: one address for a set of replicas.
package balance

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	balancer  = "balancer"
	webPort   = 8080
	adminPort = 9090

	door    = "http://balancer:8080"
	control = "http://web-1:8080" // a shop itself, which no claim takes away under load

	standIn1, standIn2 = "nginx", "haproxy"
)

// shops are the replicas; the last is slow. What is on a page says whose it is.
var shops = []string{"web-1", "web-2", "web-3"}

const slow = 2

// Lab is ambassador/balance.
var Lab = check.Lab{
	Name: "ambassador/balance",
	Claims: []check.Claim{
		// First, while nothing has been earned yet that could be spent.
		{ID: "budget", Says: "when every replica fails, retries stay a small part of the requests", Measure: check.By(budget)},
		{ID: "spread", Says: "replicas that are alike get alike shares, over kept connections and over new ones", Measure: check.By(spread)},
		{
			ID: "least-loaded", Says: "a replica that is slow gets its smaller share, and nine of ten clients do not wait for it",
			Timeout: 90 * time.Second, Measure: check.By(leastLoaded),
		},
		{
			ID: "replica-killed", Says: "a replica is killed under load and comes back; no GET fails",
			Timeout: 2 * time.Minute, Measure: check.By(replicaKilled),
		},
		{
			ID: "joins-leaves", Says: "a replica that stops in order leaves, and one that starts joins, within seconds and without an error",
			Timeout: 2 * time.Minute, Measure: check.By(joinsLeaves),
		},
		{
			ID: "slow-start", Says: "a replica that comes back begins with less than half of its share, and has it all after a while",
			Timeout: 90 * time.Second, Measure: check.By(slowStart),
		},
		{
			ID: "no-replay", Says: "a POST whose replica dies is not sent to another: it may have been done",
			Measure: check.By(noReplay),
		},
		{
			ID: "all-dead", Says: "with all replicas dead the answer is a quick 503, and pages come back with the first of them",
			Timeout: 2 * time.Minute, Measure: check.By(allDead),
		},
	},
	Bench: &comparison,
	Variants: []check.Variant{
		{Name: "round-robin-only", Says: "each replica gets its turn, however slow it is", Breaks: []string{"least-loaded"}},
		{Name: "no-retry", Says: "a request that meets a dead replica is lost", Breaks: []string{"replica-killed"}},
		{Name: "no-budget", Says: "every failure is tried again", Breaks: []string{"budget"}},
		{Name: "repeats-posts", Says: "whatever fails is sent again, orders among it", Breaks: []string{"no-replay"}},
		{Name: "at-once", Says: "who comes back gets its full share at once", Breaks: []string{"slow-start"}},
		{Name: standIn1, Says: "nginx in the balancer's place", Keeps: []string{"spread", "replica-killed"}},
		{Name: standIn2, Says: "HAProxy in the balancer's place", Keeps: []string{"spread", "replica-killed"}},
	},
}

// replica is one of the balancer's, by its own account.
type replica struct {
	Address  string `json:"address"`
	Up       bool   `json:"up"`
	Why      string `json:"why"`
	InFlight int    `json:"in_flight"`
}

// replicas are those that the balancer knows.
func replicas(m *check.M) []replica {
	var status struct{ Replicas []replica }
	m.JSON(balancer, adminPort, "/status", &status)
	return status.Replicas
}

// patience is what the balancer gets to see that a replica is there, or is not, on a machine that is busy.
const patience = 20 * time.Second

// well waits until all replicas have their whole share: what an earlier claim did is over. A program that stands in for the
// balancer is asked for pages instead, until each shop has given one.
func well(m *check.M) {
	if v := m.Stack.Variant; v == standIn1 || v == standIn2 {
		met := map[string]bool{}
		m.Await(patience, "a page of each shop", func(m *check.M) error {
			met[shop(m.Get(balancer, webPort, "/about"))] = true
			if len(met) < len(shops) {
				return fmt.Errorf("%v", met)
			}
			return nil
		})
		return
	}
	m.Await(patience, "three replicas with their whole share", func(m *check.M) error {
		all := replicas(m)
		for _, r := range all {
			if r.Why != "up" {
				return fmt.Errorf("%s is %s", r.Address, r.Why)
			}
		}
		if len(all) != len(shops) {
			return fmt.Errorf("%d replicas", len(all))
		}
		return nil
	})
}

// shop is whose page it is, by what is on it, or "".
func shop(p check.Page) string {
	for i, name := range shops {
		if strings.Contains(string(p.Body), fmt.Sprintf("<h1>Shop %d</h1>", i+1)) {
			return name
		}
	}
	return ""
}

// address is a shop's own, as the balancer has it.
func address(m *check.M, service string) string {
	for _, ip := range m.State(service).Networks {
		return fmt.Sprintf("%s:%d", ip, webPort)
	}
	check.Must(errors.New(service + " is on no network"))
	return ""
}
