package main

import (
	"testing"

	"distlab/containers/internal/daemon"
)

// TestFit: in TCP mode each connection has one to a replica.
func TestFit(t *testing.T) {
	has := daemon.Resources{Files: 1024}
	for mode, want := range map[string][2]int{"http": {512, 256}, "tcp": {384, 384}} {
		connections, requests := has.Fit(20000, 10000, config{Mode: mode}.cost())
		if got := [2]int{connections, requests}; got != want {
			t.Errorf("%s: %v, want %v", mode, got, want)
		}
	}
}
