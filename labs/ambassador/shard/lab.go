// Package shard is the lab ambassador/shard: one Redis address in front of three.
package shard

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	pod        = "pod"
	config     = "config"
	app        = "app"
	ambassador = "shard-ambassador"
	redisPort  = 6379
	adminPort  = 9090

	poolFile = "/pools/pool.yml" // as config and the ambassador see it
	fourFile = "/pools/four.yml" // the same with a fourth server
)

// shards are the services behind the ambassador, fourth the one that it does not use yet.
var shards = []string{"redis-a", "redis-b", "redis-c"}

const fourth = "redis-d"

// patience is how long a claim waits for what should take a second or two.
const patience = 20 * time.Second

// Lab is ambassador/shard.
var Lab = check.Lab{
	Name:  "ambassador/shard",
	Bench: &comparison,
	Claims: []check.Claim{
		{ID: "same-ring", Says: "keys that twemproxy has placed are written through the ambassador to the same servers", Measure: sameRing},
		{ID: "balanced", Says: "keys spread over the three servers in the proportions of twemproxy's ring", Measure: balanced},
		{ID: "one-address", Says: "a stock client sees one Redis: RESP2 and RESP3, pipelines, large values, and so does redis-cli", Measure: oneAddress},
		{ID: "multi-key", Says: "MGET, MSET, DEL and their kind work over all shards, with replies in the order of the keys", Measure: multiKey},
		{
			ID: "blast-radius", Says: "a shard that hangs or is stopped fails only its own keys, within 4 s, and MGET per key",
			Timeout: 90 * time.Second, Measure: blastRadius,
		},
		{
			ID: "few-keys-move", Says: "a fourth server takes about a quarter of the keys, as many as plan says, and no other key moves",
			Timeout: 90 * time.Second, Measure: fewKeysMove,
		},
		{ID: "recovers", Says: "a shard that was stopped and comes back serves again, and the ambassador is not restarted for it", Measure: recovers},
		{
			ID: "reload", Says: "a pool file with a fourth server is read on SIGHUP under load, without an error; a bad one changes nothing",
			Timeout: 90 * time.Second, Measure: reload,
		},
		{ID: "drain", Says: "SIGTERM with pipelined requests pending: each is answered, and then the ambassador exits 0", Measure: drain},
	},
	Variants: []check.Variant{
		{Name: "modula", Says: "the hash modulo the number of servers, in the place of the ring", Breaks: []string{"few-keys-move"}},
		{Name: "single-shard", Says: "the pool file names one of the three servers", Breaks: []string{"balanced"}},
		{Name: "no-timeout", Says: "the ambassador waits for a shard as long as it takes", Breaks: []string{"blast-radius"}},
	},
}
