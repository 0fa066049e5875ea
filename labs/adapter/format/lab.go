// Package format is the lab adapter/format: CSV, XML and fixed-width records behind one JSON API.
package format

import (
	"time"

	"distlab/lab/check"
)

// The lab's services, ports and settings, as the compose file has them.
const (
	adapter   = "format-adapter"
	apiPort   = 8080
	adminPort = 9090

	parts     = 60 // that each feed has
	badOnes   = 6  // that the fault bad adds
	slowFirst = 10 // that the fault slow sends before its pause
	pause     = 1500 * time.Millisecond

	// resident bounds the adapter's memory, whatever it reads: a record, a chunk and a page for each of a few requests.
	resident = 64 << 20
)

// feeds are the systems, which are the adapter's sources of the same names, in its order.
var feeds = []string{"warehouse", "catalog", "ledger"}

// Lab is adapter/format.
var Lab = check.Lab{
	Name: "adapter/format",
	Claims: []check.Claim{
		{
			ID: "same-record", Says: "a part is the same bytes whether CSV, XML or EBCDIC told of it, to the last digit",
			Measure: check.By(sameRecord),
		},
		{
			ID: "bad-record", Says: "every bad record is told with where and why, and every good one beside it is there",
			Timeout: 4 * time.Minute, Measure: check.By(badRecord),
		},
		{
			ID: "source-down", Says: "with a source away, failing or hanging the others' records come, and the answer says that it is a part, and why",
			Timeout: 4 * time.Minute, Measure: check.By(sourceDown),
		},
		{
			ID: "encodings", Says: "UTF-8, Latin-1 and UTF-16, marked and not, give the same records; a wrong label gives bad records, not wrong ones",
			Measure: check.By(encodings),
		},
		{
			ID: "half-file", Says: "half of a file is never given for the whole, whether it was cut or ended in good order",
			Timeout: 4 * time.Minute, Measure: check.By(halfFile),
		},
		{
			ID: "streams", Says: "the first records are there before the source has sent the rest",
			Timeout: 4 * time.Minute, Measure: check.By(streams),
		},
		{
			ID: "hostile", Says: "entity bombs, a million elements deep, endless lines and a CSV of 1 GB: memory is bounded, others are answered",
			Timeout: 3 * time.Minute, Measure: check.By(hostile),
		},
		{
			ID: "new-format", Says: "a file with a fourth source, in a fourth format, is enough; a bad file changes nothing",
			Timeout: 4 * time.Minute, Measure: check.By(newFormat),
		},
	},
	Variants: []check.Variant{
		{Name: "fail-whole", Says: "one source that is away, and there is no answer", Breaks: []string{"source-down"}},
		{Name: "skip-bad", Says: "what cannot be read is left out, and nobody is told", Breaks: []string{"bad-record"}},
		{Name: "slurp", Says: "a source is read once all of it is in memory", Breaks: []string{"hostile", "streams"}},
		{Name: "float-money", Says: "numbers are numbers of floating point", Breaks: []string{"same-record"}},
		{Name: "no-trailer", Says: "the end of what came is taken for the end of the file", Breaks: []string{"half-file"}},
	},
}
