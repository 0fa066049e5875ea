// Package scatter is the lab serving/scatter: a search is scattered over leaves, and what they find is gathered by a
// deadline.
package scatter

import (
	"fmt"
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	root      = "root"
	webPort   = 8080
	adminPort = 9090
	shards    = 8

	door    = "http://root:8080"
	control = "http://root:9090/livez" // the same process; no leaf is asked

	slowShare = 0.02 // of a leaf's searches wait for slowTime first
	slowTime  = 500 * time.Millisecond

	hedgeShare = 0.05 // of the requests, and hedgeBurst that were saved up
	hedgeBurst = 10
)

// leaf is the service that has shard i, and shard i+1 too.
func leaf(i int) string { return fmt.Sprintf("leaf-%d", (i+shards)%shards) }

// patience is how long a claim waits for what should take a second or two.
const patience = 30 * time.Second

// Lab is serving/scatter.
var Lab = check.Lab{
	Name: "serving/scatter",
	Claims: []check.Claim{
		{
			ID:      "right-answer",
			Says:    "what the root finds is what one index over all documents finds: the same documents, scores and order",
			Timeout: 2 * time.Minute, Measure: check.By(rightAnswer),
		},
		{
			ID:      "top-k",
			Says:    "the best k of all are exact though no shard sends more than k, wherever they are, on every page",
			Timeout: 2 * time.Minute, Measure: check.By(topK),
		},
		{
			ID:      "straggler",
			Says:    "of n leaves, each slow with chance p, the root is slow with 1−(1−p)ⁿ; a second request takes most of it away for 5 % more",
			Timeout: 3 * time.Minute, Measure: check.By(straggler),
		},
		{
			ID: "budget", Says: "when every leaf is slow, second requests stay a twentieth of the first ones",
			Timeout: 2 * time.Minute, Measure: check.By(budget),
		},
		{
			ID:      "deadline",
			Says:    "the root answers by its deadline, and leaves stop working for who was answered or has gone",
			Timeout: 3 * time.Minute, Measure: check.By(deadline),
		},
		{
			ID:      "partial",
			Says:    "one leaf dead: nobody sees it; both leaves of a shard dead or frozen: right but for that shard, and it is said",
			Timeout: 3 * time.Minute, Measure: check.By(partial),
		},
		{
			ID:      "reload",
			Says:    "leaves reload one after the other under load: no search fails, and all are exact for the versions they name",
			Timeout: 3 * time.Minute, Measure: check.By(reload),
		},
	},
	Variants: []check.Variant{
		{Name: "local-scores", Says: "each leaf scores by its own shard's statistics", Breaks: []string{"right-answer"}},
		{Name: "k-over-n", Says: "each shard sends its share of the hits alone", Breaks: []string{"top-k"}},
		{
			Name: "no-hedge", Says: "no leaf is asked a second time",
			Breaks: []string{"straggler"}, Keeps: []string{"deadline"},
		},
		{Name: "hedge-always", Says: "a second leaf is asked whenever the first is late", Breaks: []string{"budget"}},
		{
			Name: "no-propagation", Says: "leaves do not hear of the deadline, nor that the client has gone",
			Breaks: []string{"deadline"},
		},
		{Name: "wait-for-all", Says: "there is no answer without all shards", Breaks: []string{"partial"}},
		{Name: "stale-scores", Says: "the root does not see that a leaf has other documents now", Breaks: []string{"reload"}},
	},
}
