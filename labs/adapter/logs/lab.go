// Package logs is the lab adapter/logs: three apps' logs, one JSON line an event.
package logs

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	pod        = "pod"
	adapter    = "log-adapter"
	adminPort  = 9090
	socketPort = 5514
)

// apps are those that write by themselves, their ports, and the format that their log has.
var apps = []app{{"java", 8081, "trace"}, {"access", 8082, "access"}, {"logfmt", 8083, "logfmt"}}

// flush is how long the adapter waits for the next line of an event.
const flush = time.Second

// patience is how long a claim waits for events that should come in a second or two: what comes never must be told from what
// is late on a busy machine.
const patience = 20 * time.Second

// Lab is adapter/logs.
var Lab = check.Lab{
	Name: "adapter/logs",
	Claims: []check.Claim{
		{
			ID: "one-event-one-line", Says: "each event of the three apps is one line, with its format, level, time and fields; so is each of five other formats",
			Timeout: 90 * time.Second, Measure: check.By(oneLine),
		},
		{
			ID: "traces-whole", Says: "traces of Java, Python, Go and .NET are one event each, to the byte: chained, nested, slower than the wait, two at once",
			Timeout: 90 * time.Second, Measure: check.By(tracesWhole),
		},
		{
			ID: "time", Says: "times are RFC 3339 in UTC, whatever zone, year or form the line has, and the zone is kept",
			Timeout: 90 * time.Second, Measure: check.By(times),
		},
		{
			ID: "nothing-lost", Says: "each event is written once though the apps are killed, their files renamed and copied, and the adapter stopped amid a trace",
			Timeout: 2 * time.Minute, Measure: check.By(nothingLost),
		},
		{
			ID: "bad-line", Says: "a line that is not understood is kept as it is and marked, and its neighbours are what they were",
			Timeout: 90 * time.Second, Measure: check.By(badLine),
		},
		{
			ID: "no-injection", Says: "line ends, escape sequences and separators in a message make no event, and reach no terminal",
			Timeout: 90 * time.Second, Measure: check.By(noInjection),
		},
		{
			ID: "keeps-up", Says: "30,000 events written at once are out within 15 s, and a line of 8 MiB and an event of 30,000 lines do not grow its memory over 48 MiB",
			Timeout: 2 * time.Minute, Measure: check.By(keepsUp),
		},
	},
	Variants: []check.Variant{
		{Name: "line-by-line", Says: "the adapter takes each line for an event", Breaks: []string{"traces-whole"}},
		{Name: "first-line-timer", Says: "the wait for more lines begins with an event's first", Breaks: []string{"traces-whole"}},
		{Name: "local-time", Says: "the adapter leaves the zone of a time aside", Breaks: []string{"time"}},
		{Name: "no-checkpoint", Says: "the adapter keeps nothing of how far it was", Breaks: []string{"nothing-lost"}},
		{Name: "drop-unparsed", Says: "the adapter leaves out what it does not understand", Breaks: []string{"bad-line"}},
	},
}
