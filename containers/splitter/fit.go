package main

import "distlab/containers/internal/daemon"

// What one of each takes at most, measured with the garbage that comes with
// it: an idle connection 21 KiB, a request 67 KiB and the body that is kept of
// it.
const (
	baseMemory       = 16 << 20
	connectionMemory = 24 << 10
	requestMemory    = 80 << 10
	baseFiles        = 256
)

// fit lowers limits to what the resources bear: a flood of connections is to
// be turned away, not to get the process killed. No limit, 0, stays none:
// somebody has asked for it.
func (cfg config) fit(r daemon.Resources) config {
	connections, requests := uint64(cfg.MaxConnections), uint64(cfg.MaxRequests)
	if r.Memory > 0 {
		spare := uint64(1 << 20)
		if own := baseMemory + cfg.mirrorMemory(); r.Memory > own {
			spare = max(spare, r.Memory-own)
		}
		request := requestMemory + uint64(cfg.RetryBody)
		connections = min(connections, max(1, spare*2/3/connectionMemory))
		requests = min(requests, max(1, spare/3/request))
	}
	if r.Files > 0 {
		spare := uint64(3)
		if r.Files > baseFiles {
			spare = max(spare, r.Files-baseFiles)
		}
		// Each request has a connection to an arm, besides the client's.
		connections = min(connections, spare*2/3)
		requests = min(requests, spare/3)
	}
	cfg.MaxConnections, cfg.MaxRequests = int(connections), int(requests)
	return cfg
}

// mirrorMemory is what all copies together may hold.
func (cfg config) mirrorMemory() uint64 {
	if cfg.Mirror == "" {
		return 0
	}
	each := uint64(cfg.MirrorBodyLimit) + requestMemory
	if cfg.Compare != "" {
		each += 3 * uint64(cfg.CompareBodyLimit)
	}
	return uint64(cfg.MirrorConcurrency) * each
}
