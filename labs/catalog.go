// Package labs is the catalog: every lab, in the order in which a reader should meet them.
package labs

import (
	"distlab/lab/check"
	"distlab/labs/adapter/health"
	"distlab/labs/adapter/slowlog"
	"distlab/labs/ambassador/shard"
	"distlab/labs/ambassador/split"
	"distlab/labs/sidecar/logs"
	"distlab/labs/sidecar/tls"
)

// Catalog is every lab. A test holds that no folder is forgotten.
var Catalog = []check.Lab{
	tls.Lab,
	logs.Lab,
	shard.Lab,
	split.Lab,
	slowlog.Lab,
	health.Lab,
}
