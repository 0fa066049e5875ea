// Package logs is the lab sidecar/logs: a log file's lines, each once, in a store.
package logs

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	pod       = "pod"
	shipper   = "log-shipper"
	store     = "log-store"
	appPort   = 8080
	adminPort = 9090
	storePort = 8080
)

// What the compose file sets, and the claims measure against.
const (
	buffer  = 1 << 20 // of lines in the shipper's memory
	batch   = 256 << 10
	backlog = 8 << 20  // of the disk that may wait for the shipper
	volume  = 24 << 20 // where the app logs
)

// patience is how long a claim waits for lines. Those that come come in a second or two; what never comes must be told from
// what is late on a busy machine.
const patience = 30 * time.Second

// Lab is sidecar/logs.
var Lab = check.Lab{
	Name: "sidecar/logs",
	Claims: []check.Claim{
		{
			ID: "complete", Says: "every line reaches the store: through renames, copytruncate, SIGKILL of the shipper, and each of them while the store is away",
			Timeout: 3 * time.Minute, Measure: check.By(complete),
		},
		{
			ID: "no-duplicates", Says: "the store has no line twice, though the shipper is killed and acknowledgements are lost",
			Timeout: 3 * time.Minute, Measure: check.By(noDuplicates),
		},
		{
			ID: "order", Says: "the lines of one file are in the store in the order in which they were written, whatever was sent again",
			Timeout: 3 * time.Minute, Measure: check.By(order),
		},
		{
			ID: "partial-line", Says: "half a line is not shipped; its whole is, once, though the file is renamed and the shipper killed between",
			Timeout: 2 * time.Minute, Measure: check.By(partialLine),
		},
		{
			ID: "app-unaffected", Says: "with the store or the shipper away the app's writes do not fail, and take no longer",
			Timeout: 3 * time.Minute, Measure: check.By(appUnaffected),
		},
		{
			ID: "back-pressure", Says: "with the store away memory and disk stay bounded; what is dropped is counted, to the line",
			Timeout: 3 * time.Minute, Measure: check.By(backPressure),
		},
		{
			ID: "catches-up", Says: "once the store is back the shipper is five times as fast as the app writes, and level within 20 s",
			Timeout: 2 * time.Minute, Measure: check.By(catchesUp),
		},
	},
	Variants: []check.Variant{
		{Name: "no-checkpoint", Says: "the shipper keeps nothing of how far it was", Breaks: []string{"no-duplicates"}},
		{Name: "by-name", Says: "the shipper follows the name and forgets the rotated file", Breaks: []string{"complete"}},
		{Name: "unbounded", Says: "the shipper takes lines into memory without a bound", Breaks: []string{"back-pressure"}},
		{Name: "hoards", Says: "the shipper never gives up a deleted file", Breaks: []string{"app-unaffected"}},
	},
}
