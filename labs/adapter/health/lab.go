// Package health is the lab adapter/health: MySQL's health over HTTP, from queries.
package health

import (
	"time"

	"distlab/lab/check"
)

// The lab's services, ports and settings, as the compose file has them.
const (
	pod        = "pod"
	database   = "mysql"
	adapter    = "health-adapter"
	healthPort = 9200
	adminPort  = 9090

	timeout  = time.Second
	cacheTTL = 500 * time.Millisecond
	fall     = 3
	rise     = 2

	// margin is for the way to the adapter and back on a busy machine.
	margin = 500 * time.Millisecond
)

// downWithin and upWithin are how long a change of state may take: so many checks, each as slow as it may be, and the answer.
const (
	downWithin = fall*(timeout+cacheTTL) + 4*margin
	upWithin   = rise*(timeout+cacheTTL) + 2*margin
)

// secrets must not be in any answer, nor in the log.
var secrets = []string{"s3cret-of-health", "s3cret-of-root"}

// Lab is adapter/health.
var Lab = check.Lab{
	Name: "adapter/health",
	Claims: []check.Claim{
		{ID: "healthy", Says: "both questions are 200 while MySQL answers queries, in text and in JSON, with the answer's age", Measure: healthy},
		{ID: "hung", Says: "with MySQL frozen, its port open, every answer comes within the timeout, and it is 503 with a reason", Timeout: 2 * time.Minute, Measure: hung},
		{ID: "down", Says: "with MySQL stopped it is 503 with a reason", Timeout: 2 * time.Minute, Measure: down},
		{ID: "query-fails", Says: "while MySQL answers but the query fails, it is 503 with a reason", Measure: queryFails},
		{ID: "read-only", Says: "while MySQL can be read and not written, it is not ready", Measure: readOnly},
		{ID: "recovers", Says: "MySQL, killed and started again, is ready within 4 s of the engine finding it healthy; the adapter runs on", Timeout: 2 * time.Minute, Measure: recovers},
		{ID: "cheap", Says: "a thousand probes a second make at most one query in each 500 ms", Timeout: 90 * time.Second, Measure: cheap},
		{ID: "flap", Says: "one check that runs into the timeout changes no answer", Measure: flap},
		{ID: "livez-readyz", Says: "a server that is alive and not ready is 200 for one question and 503 for the other", Measure: twoQuestions},
	},
	Variants: []check.Variant{
		{Name: "no-timeout", Says: "the adapter waits for as long as the server takes", Breaks: []string{"hung"}},
		{Name: "no-cache", Says: "who asks the adapter asks the database", Breaks: []string{"cheap"}},
		{Name: "tcp-only", Says: "healthy means that the port is open", Breaks: []string{"query-fails"}},
		{Name: "hair-trigger", Says: "a single failed check counts", Breaks: []string{"flap"}},
	},
}
