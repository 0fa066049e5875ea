package main

import (
	"testing"

	"distlab/containers/shard-ambassador/pool"
)

func TestMovedShare(t *testing.T) {
	servers := func(names ...string) pool.Pool {
		p := pool.Default()
		for _, name := range names {
			p.Servers = append(p.Servers, pool.Server{Addr: pool.Addr{Network: "tcp", Address: name + ":6379"}, Weight: 1, Name: name})
		}
		return p
	}
	for _, tt := range []struct {
		from, to pool.Pool
		low, hi  float64
	}{
		{servers("a", "b", "c"), servers("a", "b", "c"), 0, 0},
		{servers("a", "b", "c"), servers("a", "b", "c", "d"), 0.15, 0.35},
		{servers("a"), servers("b"), 1, 1},
	} {
		got, err := movedShare(tt.from, tt.to)
		if err != nil || got < tt.low || got > tt.hi {
			t.Errorf("%d to %d servers: %v, %v, want %v to %v", len(tt.from.Servers), len(tt.to.Servers), got, err, tt.low, tt.hi)
		}
	}
}
