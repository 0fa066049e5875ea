package main

import "distlab/containers/internal/daemon"

// What one of each takes at most, measured with head room for the garbage
// collector: an idle TLS connection 34 KiB with Go's HTTP server, where any
// client may bring it, a request its buffers on both sides.
const (
	baseMemory       = 16 << 20
	connectionMemory = 48 << 10
	requestMemory    = 96 << 10
	baseFiles        = 256
)

// fit lowers limits to what the resources bear: a flood of connections is to
// be turned away, not to get the process killed. No limit, 0, stays none:
// somebody has asked for it.
func (cfg config) fit(r daemon.Resources) config {
	connections, requests := uint64(cfg.MaxConnections), uint64(cfg.MaxRequests)
	if r.Memory > 0 {
		spare := uint64(1 << 20)
		if r.Memory > baseMemory {
			spare = max(spare, r.Memory-baseMemory)
		}
		connections = min(connections, spare*2/3/connectionMemory)
		requests = min(requests, spare/3/requestMemory)
	}
	if r.Files > 0 {
		spare := uint64(2)
		if r.Files > baseFiles {
			spare = max(spare, r.Files-baseFiles)
		}
		// In TCP mode each connection has another to the app.
		connections = min(connections, spare/2)
		requests = min(requests, spare/2)
	}
	cfg.MaxConnections, cfg.MaxRequests = int(connections), int(requests)
	return cfg
}
