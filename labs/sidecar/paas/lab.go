// Package paas is the lab sidecar/paas: a web server that serves what was pushed last.
package paas

import (
	"time"

	"distlab/lab/check"
)

// The lab's services, ports and times, as the compose file has them.
const (
	pod, app, server, sidecar = "pod", "app", "git-server", "git-sync"

	httpPort, releasePort, webhookPort = 8080, 8083, 8082
	adminPort, releaseAdminPort        = 9090, 9091
	token                              = "please"
	period, releasePeriod              = 20 * time.Second, time.Second
	site                               = "http://pod:8080"
	patience                           = time.Minute // for what takes a second or two on an idle machine
)

// Lab is sidecar/paas.
var Lab = check.Lab{
	Name: "sidecar/paas",
	Claims: []check.Claim{
		{
			ID: "deploys", Says: "a push is served whole within one period, by webhook at once, and of several in a row the last",
			Timeout: 4 * time.Minute, Measure: check.By(deploys),
		},
		{
			ID: "atomic", Says: "no reader sees files of two commits mixed, or a part of one, over HTTP or on the volume",
			Timeout: 4 * time.Minute, Measure: check.By(atomic),
		},
		{
			ID: "no-downtime", Says: "no request fails while commits are published, refused and taken back",
			Timeout: 4 * time.Minute, Measure: check.By(noDowntime),
		},
		{
			ID:      "bad-push",
			Says:    "a push that fails its check is never served, one that makes the site ill goes back; the status says which and why, and neither is tried again",
			Timeout: 4 * time.Minute, Measure: check.By(badPush),
		},
		{
			ID: "remote-down", Says: "with the remote gone, hanging or cut off the site is served on, after a restart of the sidecar too, and the next push once it is back",
			Timeout: 4 * time.Minute, Measure: check.By(remoteDown),
		},
		{
			ID: "force-push", Says: "a branch that is rewound, rewritten or replaced is served as it is now; deleted, it is served as it was, and told",
			Timeout: 4 * time.Minute, Measure: check.By(forcePush),
		},
		{
			ID: "tag", Says: "a tag that moves is followed, annotated or not; deleted, the site stays as it was, and that is told",
			Timeout: 4 * time.Minute, Measure: check.By(tag),
		},
		{
			ID:      "restart",
			Says:    "killed at any moment, the sidecar finds its checkouts again, mends a damaged one, and cleans up what is half or unused",
			Timeout: 4 * time.Minute, Measure: check.By(restart),
		},
		{
			ID: "says-hash", Says: "the link, the status and the metric name the commit that is served, published or taken back",
			Timeout: 4 * time.Minute, Measure: check.By(saysHash),
		},
	},
	Variants: []check.Variant{
		{Name: "git-pull-in-place", Says: "the book's loop: git pull in the folder that is served", Breaks: []string{"atomic"}},
		{Name: "no-check", Says: "nobody asks whether a commit works", Breaks: []string{"bad-push"}},
		{Name: "reclone", Says: "the folder is thrown away and cloned anew each time", Breaks: []string{"remote-down"}},
		{
			Name: "git-worktree", Says: "real git in a loop: a worktree a commit, and a link renamed over",
			Keeps: []string{"atomic", "force-push"},
		},
	},
}
