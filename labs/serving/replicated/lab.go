// Package replicated is the lab serving/replicated: copies of one service behind one address, with readiness.
package replicated

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	balancer  = "balancer"
	webPort   = 8080
	adminPort = 9090

	door    = "http://balancer:8080"
	control = "http://neighbour:8080" // the same service, which is no copy of the set
)

// The copies that take part, and those on stand-by.
var (
	copies = []string{"dictionary-1", "dictionary-2", "dictionary-3"}
	spares = []string{"spare-1", "spare-2"}
)

// Lab is serving/replicated.
var Lab = check.Lab{
	Name: "serving/replicated",
	Claims: []check.Claim{
		{
			ID:      "spread",
			Says:    "the copies get alike shares, over kept connections and over new ones, and answer the same",
			Measure: check.By(spread),
		},
		{
			ID:      "no-downtime",
			Says:    "copies restart one after the other and scale from 3 to 5 to 2 under load; no GET or POST fails",
			Timeout: 3 * time.Minute, Measure: check.By(noDowntime),
		},
		{
			ID:      "in-flight",
			Says:    "what is under way at a copy that is stopped is answered whole, and it ends in order",
			Measure: check.By(inFlight),
		},
		{
			ID:      "unready-skipped",
			Says:    "a copy that is not ready gets nothing from the second check on, and is asked again when it is",
			Timeout: 90 * time.Second, Measure: check.By(unreadySkipped),
		},
		{
			ID:      "warm-up",
			Says:    "a copy that loads its data is not asked, though it listens, and is asked once it has them",
			Timeout: 90 * time.Second, Measure: check.By(warmUp),
		},
		{
			ID:      "session",
			Says:    "a client stays at its copy; when one goes its clients move, and no others, and stay there",
			Timeout: 90 * time.Second, Measure: check.By(session),
		},
		{
			ID:      "capacity",
			Says:    "two copies carry about twice what one does, and three about three times",
			Timeout: 2 * time.Minute, Measure: check.By(capacity),
		},
		{
			ID:      "killed",
			Says:    "a copy that is killed costs at most what it would get in two seconds, and nothing of the others'",
			Timeout: 90 * time.Second, Measure: check.By(killed),
		},
	},
	Variants: []check.Variant{
		{Name: "no-readiness", Says: "nobody asks the copies whether they are ready", Breaks: []string{"no-downtime"}},
		{Name: "stop-at-once", Says: "a copy that is told to stop closes its port at once", Breaks: []string{"no-downtime"}},
		{Name: "no-affinity", Says: "each request may go to another copy", Breaks: []string{"session"}},
	},
}
