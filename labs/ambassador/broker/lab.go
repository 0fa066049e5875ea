// Package broker is the lab ambassador/broker: the app says localhost, and the instance for this environment is found.
package broker

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	registry   = "etcd"
	staging    = "staging"
	production = "production"
	ambassador = "broker-staging"
	registerA  = "register-staging-a"
	registerB  = "register-staging-b"
	redisA     = "redis-staging-a"
	redisB     = "redis-staging-b"
	redisPort  = 6379
	adminPort  = 9090

	prefix = "/services/redis/" // what the keys of the registry begin with

	ttl          = 3 * time.Second // of a registration, and etcd looks every half second
	leaveTimeout = 3 * time.Second
)

// environment is a pod, its app, and whom it may meet.
type environment struct {
	pod, app string
	redis    []string
}

var environments = []environment{
	{staging, "app-staging", []string{redisA, redisB}},
	{production, "app-production", []string{"redis-production"}},
	{"development", "app-development", []string{"redis-development"}},
}

// patience is how long a claim waits for what should take a second or two.
const patience = 20 * time.Second

// Lab is ambassador/broker.
var Lab = check.Lab{
	Name: "ambassador/broker",
	Claims: []check.Claim{
		{
			ID:      "environments",
			Says:    "one app, unchanged, meets the Redis of its own environment in three of them, and never another's, whatever else is registered",
			Timeout: 90 * time.Second, Measure: check.By(eachItsOwn),
		},
		{
			ID:      "joins-leaves",
			Says:    "an instance that takes itself back is gone within 2 s, one whose lease runs out within 8 s; back, it is met within 2 s; no connection fails",
			Timeout: 2 * time.Minute, Measure: check.By(joinsLeaves),
		},
		{
			ID: "drained", Says: "connections to an instance that has left go on, new ones go elsewhere, and those that are left after 3 s are ended",
			Timeout: 90 * time.Second, Measure: check.By(drained),
		},
		{
			ID: "registry-down", Says: "with etcd stopped or frozen the app connects as before, and the ambassador says how old its knowledge is",
			Timeout: 2 * time.Minute, Measure: check.By(registryDown),
		},
		{
			ID: "registry-lies", Says: "registrations that cannot be read, and an answer that nobody is there, take nothing away that was known",
			Timeout: 2 * time.Minute, Measure: check.By(registryLies),
		},
		{
			ID: "dead-instance", Says: "an instance that is killed or hangs is passed over while the registry still has it",
			Timeout: 2 * time.Minute, Measure: check.By(deadInstance),
		},
		{
			ID: "sticky-connection", Says: "open connections keep their instance while others join, leave and die and the registry starts anew",
			Timeout: 2 * time.Minute, Measure: check.By(sticky),
		},
		{
			ID: "cold-start", Says: "an ambassador that is killed and starts without a registry goes on with what it had kept, and says how old that is",
			Timeout: 2 * time.Minute, Measure: check.By(coldStart),
		},
		{
			ID: "relist", Says: "an instance left while the ambassador was frozen, and etcd has compacted that away: it is found gone within 5 s",
			Timeout: 90 * time.Second, Measure: check.By(relist),
		},
	},
	Variants: []check.Variant{
		{Name: "wrong-label", Says: "production's ambassador has staging's label", Breaks: []string{"environments"}},
		{Name: "label-ignored", Says: "staging's ambassador takes the instances of every environment", Breaks: []string{"environments"}},
		{Name: "cut-on-leave", Says: "connections of an instance that leaves are ended at once", Breaks: []string{"drained"}},
		{Name: "no-cache", Says: "the ambassador forgets what the registry said when that does not answer", Breaks: []string{"registry-down"}},
		{Name: "trust-empty", Says: "the ambassador believes that nobody is there", Breaks: []string{"registry-lies"}},
		{Name: "no-check", Says: "no instance is checked", Breaks: []string{"dead-instance"}},
		{Name: "memory-only", Says: "the ambassador keeps what it knows in memory alone", Breaks: []string{"cold-start"}},
	},
}
