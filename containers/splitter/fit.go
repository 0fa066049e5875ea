package main

import "distlab/containers/internal/daemon"

// requestMemory is what a request in flight takes, but for the body that is kept of it.
const requestMemory = 80 << 10

// cost is measured: an idle connection 21 KiB, a request 67 KiB and the body that is kept of it. All copies together hold what
// the mirror's limits say.
func (cfg config) cost() daemon.Cost {
	return daemon.Cost{Own: 16<<20 + cfg.mirrorMemory(), Connection: 24 << 10, Request: requestMemory + uint64(cfg.RetryBody)}
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
