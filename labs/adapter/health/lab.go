// Package health is the lab adapter/health: MySQL's health over HTTP, from queries, and an orchestrator that heeds it.
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
	restarter  = "restarter"
	healthPort = 9200
	agentPort  = 9201
	adminPort  = 9090

	restarterPort = 9091

	timeout  = time.Second
	cacheTTL = 500 * time.Millisecond
	fall     = 3
	rise     = 2

	connMaxAge = 2 * time.Second

	// The restarter's.
	period    = 500 * time.Millisecond
	threshold = 3
	grace     = time.Second

	// margin is for the way to the adapter and back on a busy machine.
	margin = 500 * time.Millisecond
)

// downWithin and upWithin are how long a change of state may take: so many checks, each as slow as it may be, and the answer.
const (
	downWithin = fall*(timeout+cacheTTL) + 4*margin
	upWithin   = rise*(timeout+cacheTTL) + 2*margin

	// soonWithin is downWithin for a check that fails and does not time out.
	soonWithin = fall*cacheTTL + 6*margin

	// restartWithin is from a freeze to the new process: the adapter sees it, the restarter is told so often, the process
	// gets its grace, and the engine starts it. startWithin is a server's time to repair its files and to be found ready.
	restartWithin = downWithin + threshold*(period+margin) + grace + 4*margin
	startWithin   = 30 * time.Second
)

// secrets must not be in any answer, nor in the log.
var secrets = []string{"s3cret-of-health", "s3cret-of-root", "an0ther-one"}

// Lab is adapter/health.
var Lab = check.Lab{
	Name: "adapter/health",
	Claims: []check.Claim{
		{
			ID: "healthy", Says: "both questions are 200 while MySQL answers queries, in every form, and the answer's age is that of a check",
			Measure: by(healthy),
		},
		{
			ID: "hung", Says: "with MySQL frozen, its port open, every answer comes within the timeout, and it is 503, no answer being the reason",
			Timeout: 2 * time.Minute, Measure: by(alone(hung)),
		},
		{
			ID: "down", Says: "with MySQL stopped it is 503 and stays so, because connections are refused",
			Timeout: 2 * time.Minute, Measure: by(down),
		},
		{
			ID: "query-fails", Says: "while MySQL answers but the query fails, it is not ready, with the server's error number, and alive",
			Measure: by(queryFails),
		},
		{
			ID: "read-only", Says: "while MySQL can be read and not written, it is not ready, and alive",
			Measure: by(readOnly),
		},
		{
			ID: "login-refused", Says: "while MySQL refuses the adapter's password, it is 503 with a reason, open connection or not",
			Measure: by(alone(loginRefused)),
		},
		{
			ID: "recovers", Says: "MySQL, killed and started again, is ready within 4 s of writing again; the adapter runs on",
			Timeout: 2 * time.Minute, Measure: by(recovers),
		},
		{
			ID: "cheap", Says: "a thousand probes a second make at most one query in each 500 ms",
			Timeout: 90 * time.Second, Measure: by(cheap),
		},
		{ID: "flap", Says: "one check that runs into the timeout changes no answer", Measure: by(alone(flap))},
		{
			ID: "livez-readyz", Says: "a server that is alive and not ready is 200 for one question and 503 for the other, and is not restarted",
			Timeout: 90 * time.Second, Measure: by(twoQuestions),
		},
		{
			ID: "maintenance", Says: "in maintenance it is not ready, HAProxy is told, and nobody restarts it, also not when it hangs",
			Timeout: 2 * time.Minute, Measure: by(maintenance),
		},
		{
			ID: "restarts", Says: "MySQL, frozen, is restarted by who reads its health, once; the outage is bounded",
			Timeout: 2 * time.Minute, Measure: by(restarts),
		},
	},
	Variants: []check.Variant{
		{Name: "no-timeout", Says: "the adapter waits for as long as the server takes", Breaks: []string{"hung"}},
		{Name: "no-cache", Says: "who asks the adapter asks the database", Breaks: []string{"cheap"}},
		{Name: "tcp-only", Says: "healthy means that the port is open", Breaks: []string{"query-fails"}},
		{Name: "hair-trigger", Says: "a single failed check counts", Breaks: []string{"flap"}},
		{Name: "readyz-as-livez", Says: "the orchestrator asks whether to restart with the question whether to send clients", Breaks: []string{"livez-readyz"}},
		{Name: "no-orchestrator", Says: "health is told, and nobody reads it", Breaks: []string{"restarts"}},
	},
}
