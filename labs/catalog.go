// Package labs is the catalog: every lab, in the order in which a reader should meet them.
package labs

import (
	"distlab/lab/check"
	"distlab/labs/adapter/format"
	"distlab/labs/adapter/health"
	adapterlogs "distlab/labs/adapter/logs"
	"distlab/labs/adapter/metrics"
	"distlab/labs/adapter/slowlog"
	"distlab/labs/ambassador/balance"
	"distlab/labs/ambassador/broker"
	"distlab/labs/ambassador/shard"
	"distlab/labs/ambassador/split"
	"distlab/labs/serving/cache"
	"distlab/labs/serving/election"
	"distlab/labs/serving/replicated"
	"distlab/labs/serving/scatter"
	"distlab/labs/sidecar/config"
	"distlab/labs/sidecar/content"
	"distlab/labs/sidecar/logs"
	"distlab/labs/sidecar/paas"
	"distlab/labs/sidecar/tls"
	"distlab/labs/sidecar/topz"
)

// Catalog is every lab. A test holds that no folder is forgotten.
var Catalog = []check.Lab{
	tls.Lab,
	config.Lab,
	topz.Lab,
	paas.Lab,
	content.Lab,
	logs.Lab,
	shard.Lab,
	broker.Lab,
	split.Lab,
	balance.Lab,
	metrics.Lab,
	slowlog.Lab,
	adapterlogs.Lab,
	health.Lab,
	format.Lab,
	replicated.Lab,
	cache.Lab,
	scatter.Lab,
	election.Lab,
}
