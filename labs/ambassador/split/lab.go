// Package split is the lab ambassador/split: part of the traffic goes to an experiment.
package split

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	splitter   = "splitter"   // keeps a user on a side by a header
	byCookie   = "by-cookie"  // by a cookie
	byAddress  = "by-address" // by ip_hash
	production = "production"
	experiment = "experiment"
	shadow     = "shadow"
	webPort    = 8080
	adminPort  = 9090

	userHeader = "X-User-Id"
	adminToken = "not-for-production"

	mirrorTimeout = 400 * time.Millisecond

	standIn = "nginx" // the variant in which two of the doors are nginx
)

// The arms, and what is on the pages of each.
const (
	arm0, title0 = "production", "The Old Shop"
	arm1, title1 = "experiment", "The New Shop"
)

// share is the experiment's: one of ten.
const share = 0.1

// Lab is ambassador/split.
var Lab = check.Lab{
	Name:  "ambassador/split",
	Bench: &comparison,
	Claims: []check.Claim{
		{
			ID: "ratio", Says: "one of ten users is served by the experiment, and one of ten requests without a user, however they connect",
			Timeout: 2 * time.Minute, Measure: check.By(ratio),
		},
		{
			ID: "sticky", Says: "a user stays on one side, by name and by address, and it is the side that nginx would choose",
			Timeout: 2 * time.Minute, Measure: check.By(sticky),
		},
		{
			ID: "sticky-cookie", Says: "a browser stays on the side of its cookie, and no cookie that it writes itself is believed",
			Measure: check.By(stickyCookie),
		},
		{
			ID: "experiment-down", Says: "the experiment is killed under load and comes back; no user sees an error",
			Timeout: 2 * time.Minute, Measure: check.By(experimentDown),
		},
		{
			ID: "reweight", Says: "new weights, by the admin port and by SIGHUP, under load; no request fails, the new ratio holds",
			Timeout: 2 * time.Minute, Measure: check.By(reweight),
		},
		{
			ID: "mirror", Says: "a copy to a third build that hangs costs the answers nothing, those that are copied and those that are not",
			Timeout: 90 * time.Second, Measure: check.By(mirror),
		},
		{
			ID: "why", Says: "for every user it can be asked which side, and why; and it is so, also while the experiment is away",
			Timeout: 2 * time.Minute, Measure: check.By(why),
		},
	},
	Variants: []check.Variant{
		{
			Name: "ip-hash-behind-one-address", Says: "the book's listing: ip_hash, and all users come from one address",
			Breaks: []string{"ratio"},
		},
		{Name: "forgetful", Says: "each request is dealt anew", Breaks: []string{"sticky"}},
		{Name: "unsigned", Says: "the cookie that keeps a browser is not signed", Breaks: []string{"sticky-cookie"}},
		{Name: "no-fallback", Says: "each arm keeps its share, also when it is not there", Breaks: []string{"experiment-down"}},
		{Name: "blocking-mirror", Says: "an answer waits for the copy's", Breaks: []string{"mirror"}},
		{
			Name: standIn, Says: "nginx at the doors for names and addresses: split_clients, weights and ip_hash",
			Keeps: []string{"ratio", "sticky"},
		},
	},
}
