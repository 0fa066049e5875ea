// Package cache is the lab serving/cache: a tier of caches between TLS and a replicated service.
package cache

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	door, doorPort       = "door", 8443
	balancer             = "words"
	webPort, adminPort   = 8080, 9090
	bearer               = "Bearer let-me-purge"
	size                 = 4 << 20 // CACHE_SIZE
	memory               = 64 << 20
	doorURL              = "https://door:8443"
	controlURL           = "http://neighbour:8080"
	standIn              = "nginx-varnish"
	first                = "cache-1" // the one that a claim asks alone
	patience             = 30 * time.Second
	lead                 = 1500 * time.Millisecond
	deadTLS, deadService = "tls-1", "dictionary-1"
)

var (
	copies = []string{"dictionary-1", "dictionary-2", "dictionary-3"}
	caches = []string{"cache-1", "cache-2"}
)

// Lab is serving/cache.
var Lab = check.Lab{
	Name: "serving/cache",
	Claims: []check.Claim{
		{
			ID:      "hit-ratio",
			Says:    "of words asked for as Zipf says, the service is asked as many as can be computed",
			Timeout: 90 * time.Second, Measure: check.By(hitRatio),
		},
		{
			ID:      "coalesced",
			Says:    "100 who ask the same at once are one question to the service, each form of the answer its own",
			Timeout: 90 * time.Second, Measure: check.By(coalesced),
		},
		{
			ID:      "leader-leaves",
			Says:    "the one whose question it was hangs up; the others get its answer",
			Measure: check.By(leaderLeaves),
		},
		{
			ID:      "rfc9111",
			Says:    "what may be used again is, and what may not is not, with its age, its validators and its parts",
			Timeout: 90 * time.Second, Measure: check.By(rfc9111),
		},
		{
			ID:      "private-never-shared",
			Says:    "what is one client's alone, by Cache-Control, cookie or password, is nobody else's, and holds nobody up",
			Timeout: 90 * time.Second, Measure: check.By(privateNeverShared),
		},
		{
			ID:      "stale-if-error",
			Says:    "while the service fails, or cannot be reached, its last good answer goes on, and its errors replace nothing",
			Timeout: 90 * time.Second, Measure: check.By(staleIfError),
		},
		{
			ID:      "stale-while-revalidate",
			Says:    "who asks for what is just stale does not wait for the service, and soon gets the new one",
			Measure: check.By(staleWhileRevalidate),
		},
		{
			ID:      "purge",
			Says:    "what is purged, by URL or by tag, is gone at once, and does not come back with a question that was under way",
			Measure: check.By(purge),
		},
		{
			ID:      "origin-saved",
			Says:    "the service is asked by the clock, not by the number of its users",
			Timeout: 90 * time.Second, Measure: check.By(originSaved),
		},
		{
			ID:      "tier-lost",
			Says:    "one replica of each tier is killed, and no user sees an error",
			Timeout: 2 * time.Minute, Measure: check.By(tierLost),
		},
		{
			ID:      "bounded",
			Says:    "a cache stays within its memory, and a scan or a thousand variants do not push out what is asked for often",
			Timeout: 90 * time.Second, Measure: check.By(bounded),
		},
	},
	Bench: &comparison,
	Variants: []check.Variant{
		{Name: "no-coalescing", Says: "each miss asks the service", Breaks: []string{"coalesced"}},
		{Name: "ignores-vary", Says: "an answer in one form is everybody's", Breaks: []string{"coalesced"}},
		{Name: "cache-everything", Says: "whatever comes is stored for a minute", Breaks: []string{"private-never-shared"}},
		{Name: standIn, Says: "nginx for TLS, Varnish for the caches", Keeps: []string{"hit-ratio", "coalesced", "stale-if-error", "private-never-shared"}},
	},
}
