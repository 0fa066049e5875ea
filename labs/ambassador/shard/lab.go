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
		{
			ID: "same-ring", Says: "keys of any bytes and length that twemproxy has placed are written to the same servers, by SET and by MSET",
			Measure: check.By(sameRing),
		},
		{
			ID: "balanced", Says: "short names, long names and bytes spread over the three servers in the proportions of twemproxy's ring",
			Measure: check.By(balanced),
		},
		{
			ID: "few-keys-move", Says: "a fourth server takes the share of the keys that twemproxy's ring gives it, and no other key moves",
			Timeout: 90 * time.Second, Measure: check.By(fewKeysMove),
		},
		{
			ID: "one-address", Says: "a stock client sees one Redis: RESP2 and RESP3, pipelines, large values, and so does redis-cli",
			Measure: check.By(oneAddress),
		},
		{
			ID: "multi-key", Says: "MGET, MSET, DEL and their kind work over all shards, from 2 keys to 5,000, in the order of the keys",
			Measure: check.By(multiKey),
		},
		{
			ID:      "blast-radius",
			Says:    "a shard that hangs or is stopped fails only its own keys, each answer within 4 s, and what writes to it never says OK",
			Timeout: 2 * time.Minute, Measure: check.By(blastRadius),
		},
		{
			ID: "recovers", Says: "a shard that was stopped and comes back serves its keys within 5 s and goes on, without a restart of the ambassador",
			Timeout: 90 * time.Second, Measure: check.By(recovers),
		},
		{
			ID: "reload", Says: "a pool file with a fourth server is read on SIGHUP under load, without an error; a bad one changes nothing",
			Timeout: 2 * time.Minute, Measure: check.By(reload),
		},
		{
			ID: "drain", Says: "SIGTERM with pipelined requests pending: each is answered, and then the ambassador exits 0",
			Timeout: 2 * time.Minute, Measure: check.By(drain),
		},
	},
	Variants: []check.Variant{
		{Name: "modula", Says: "the hash modulo the number of servers, in the place of the ring", Breaks: []string{"few-keys-move"}},
		{Name: "single-shard", Says: "the pool file names one of the three servers", Breaks: []string{"balanced"}},
		{Name: "no-timeout", Says: "the ambassador waits for a shard as long as it takes", Breaks: []string{"blast-radius"}},
		{
			Name: "twemproxy", Says: "twemproxy, unmodified, with the same pool file",
			Keeps: []string{"same-ring", "balanced", "few-keys-move"},
		},
	},
}
