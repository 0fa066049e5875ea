// Package election is the lab serving/election: one of three copies is the owner, and one address leads to it.
package election

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	proxy     = "proxy"
	ledger    = "ledger"
	registry  = "registry" // the network in which etcd is
	httpPort  = 8080
	adminPort = 9090
	clerkPort = 9091 // the clerk's admin port in a node's pod

	lease    = 4 * time.Second
	deadline = 2800 * time.Millisecond
	retry    = 400 * time.Millisecond
)

// node is a pod with its elector and its app.
type node struct{ pod, elector, clerk string }

var nodes = []node{
	{"node-a", "elector-a", "clerk-a"},
	{"node-b", "elector-b", "clerk-b"},
	{slow, "elector-c", "clerk-c"},
}

// slow is the node whose elector has a slow clock.
const slow = "node-c"

var members = []string{"etcd-1", "etcd-2", "etcd-3"}

// patience is how long a claim waits for what should take some seconds.
const patience = 25 * time.Second

// Lab is serving/election.
var Lab = check.Lab{
	Name: "serving/election",
	Claims: []check.Claim{
		{
			ID:      "one-leader",
			Says:    "ownership is handed round ten times under load: one owner at a time, by the ledger's history and the electors' own account",
			Timeout: 2 * time.Minute, Measure: check.By(oneLeader),
		},
		{
			ID: "failover", Says: "an owner that is killed, frozen or cut off from etcd is followed within 8 s, and the address works again",
			Timeout: 3 * time.Minute, Measure: check.By(failover),
		},
		{
			ID: "fenced", Says: "an owner that is frozen in the middle of a write, and wakes when another one has followed, changes nothing",
			Timeout: 2 * time.Minute, Measure: check.By(fenced),
		},
		{
			ID: "no-etcd", Says: "with all of etcd frozen the owner gives up before its lease can have ended; one is back when etcd is",
			Timeout: 2 * time.Minute, Measure: check.By(noEtcd),
		},
		{
			ID: "one-etcd-down", Says: "etcd's leader is killed, then another member frozen: the owner stays, and no request fails",
			Timeout: 2 * time.Minute, Measure: check.By(oneEtcdDown),
		},
		{
			ID: "handover", Says: "an owner stopped in order is followed within 3 s, sooner than a lease could end, and no request fails",
			Timeout: 90 * time.Second, Measure: check.By(handover),
		},
		{
			ID:      "one-address",
			Says:    "in three hand-overs and a crash clients of the one address see no more than a pause, and answers of the owner alone",
			Timeout: 2 * time.Minute, Measure: check.By(oneAddress),
		},
		{
			ID: "skew", Says: "an owner whose clock is slow by a fifth, cut off from etcd, is none any more before another one is",
			Timeout: 90 * time.Second, Measure: check.By(skew),
		},
		{
			ID: "chaos", Says: "through random kills, freezes and cuts of owners and etcd's members what clients have seen is linearizable",
			Timeout: 4 * time.Minute, Measure: check.By(chaos),
		},
	},
	Variants: []check.Variant{
		{Name: "no-fencing", Says: "the store does not look at tokens", Breaks: []string{"fenced"}},
		{Name: "no-step-down", Says: "an owner goes on until the store says that its lease is over", Breaks: []string{"no-etcd"}},
		{Name: "lease-only-at-start", Says: "candidates try at their start alone", Breaks: []string{"failover"}},
		{
			Name: "bad-clock", Says: "one candidate's clock runs at a third of its speed: two owners for a while, and the store holds",
			Breaks: []string{"skew"}, Keeps: []string{"fenced"},
		},
	},
}
