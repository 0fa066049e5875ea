// Package content is the lab sidecar/content: pages that are made beside the server that serves them.
package content

import (
	"time"

	"distlab/lab/check"
)

// The lab's services, ports and settings, as the compose file has them.
const (
	pod       = "pod"
	server    = "nginx"
	generator = "content-generator"
	neighbour = "neighbour"
	httpPort  = 8080
	adminPort = 9090
	dataPath  = "/data/data.json"
	period    = time.Second
	quota     = 0.3 // processors that the generator may have
)

// Lab is sidecar/content.
var Lab = check.Lab{
	Name: "sidecar/content",
	Claims: []check.Claim{
		{ID: "fresh", Says: "new data is served within a period and a second, and every period has a new page", Measure: check.By(fresh)},
		{ID: "whole", Says: "no reader ever gets a part of a page, or of two, by length and hash", Timeout: 90 * time.Second, Measure: check.By(whole)},
		{
			ID: "isolated", Says: "the server's p99 holds while the generator burns all the processor time that it may have",
			Timeout: 120 * time.Second, Measure: check.By(isolated),
		},
		{
			ID: "generator-down", Says: "with the generator killed in its work the last whole pages are served on, with their age, and new ones after it is back",
			Timeout: 90 * time.Second, Measure: check.By(generatorDown),
		},
		{
			ID: "generator-full", Says: "a generation that does not fit, or cannot be made, changes nothing that is served, and the generator says why",
			Timeout: 90 * time.Second, Measure: check.By(generatorFull),
		},
		{ID: "cached", Says: "If-None-Match gives 304 until the page changes, and then the new one", Measure: check.By(cached)},
		{ID: "etag-true", Says: "two contents never have one ETag, not when they are of one length and made within a second", Measure: check.By(etagTrue)},
	},
	Variants: []check.Variant{
		{Name: "no-limits", Says: "the generator has no limit, and nginx the weight of a container without requests", Breaks: []string{"isolated"}},
		{Name: "write-in-place", Says: "pages are written into the files that nginx serves", Breaks: []string{"whole"}},
		{Name: "same-second", Says: "two contents of one length may have the same second of change", Breaks: []string{"etag-true"}},
	},
}
