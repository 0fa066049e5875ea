// Package slowlog is the lab adapter/slowlog: Redis's slow log as structured lines on standard output.
package slowlog

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	pod       = "pod"
	redis     = "redis"
	adapter   = "slowlog-adapter"
	redisPort = 6379
	adminPort = 9090
)

// patience is how long a claim waits for lines that should come within a second or two: what comes later than that has
// been lost for its purpose, and what comes never must be told from what is late.
const patience = 15 * time.Second

// Lab is adapter/slowlog.
var Lab = check.Lab{
	Name: "adapter/slowlog",
	Claims: []check.Claim{
		{
			ID: "exactly-once", Says: "every slow command is written once, with the ID, time, duration and arguments that Redis has, any bytes and any number of them",
			Timeout: 2 * time.Minute, Measure: check.By(exactlyOnce),
		},
		{
			ID: "own-left-out", Says: "the adapter's own commands are not written, though Redis logs them",
			Measure: check.By(ownLeftOut),
		},
		{
			ID: "redacted", Says: "arguments of AUTH, HELLO, CONFIG, ACL, MIGRATE and configured commands are never written, however they are spelled",
			Measure: check.By(redacted),
		},
		{
			ID: "non-destructive", Says: "after the adapter has read them, other readers of the slow log still see all entries that Redis keeps, few or many",
			Timeout: 90 * time.Second, Measure: check.By(nonDestructive),
		},
		{
			ID: "overflow", Says: "entries that Redis threw away between two polls are counted and reported",
			Timeout: 90 * time.Second, Measure: check.By(overflow),
		},
		{
			ID: "restart", Says: "Redis restarts and its IDs start over: that is written, and every slow command after it, once",
			Timeout: 2 * time.Minute, Measure: check.By(restart),
		},
		{
			ID: "redis-down", Says: "with Redis away the adapter says so once and is unready; when it is back, nothing is missed",
			Timeout: 2 * time.Minute, Measure: check.By(redisDown),
		},
	},
	Variants: []check.Variant{
		{Name: "reset-after-read", Says: "the adapter empties the slow log after each read", Breaks: []string{"non-destructive"}},
		{Name: "cursor-only", Says: "the adapter remembers the last ID and not which process gave it", Breaks: []string{"restart"}},
	},
}
