// Package config is the lab sidecar/config: configuration that changes while an app runs that reads files.
package config

import (
	"time"

	"distlab/lab/check"
)

// Lab is sidecar/config.
var Lab = check.Lab{
	Name: "sidecar/config",
	Claims: []check.Claim{
		{ID: "propagates", Says: "a change of all files, of one file, and a rollback are what the app serves within 2 s", Timeout: long, Measure: check.By(propagates)},
		{ID: "one-version", Says: "neither the app nor a reader ever has files of two versions", Timeout: long, Measure: check.By(oneVersion)},
		{ID: "same-process", Says: "a change leaves the app's process, its connections and its requests in flight alone", Timeout: long, Measure: check.By(sameProcess)},
		{ID: "never-torn", Says: "no reader sees half a file, or one that nobody has published", Timeout: long, Measure: check.By(neverTorn)},
		{ID: "bad-config", Says: "a version that the app's check refuses changes nothing, /status says why and in which line, and the exact revert is no change to the app", Timeout: long, Measure: check.By(badConfig)},
		{ID: "api-down", Says: "with the API killed or frozen the app serves on, and the sidecar catches up within 4 s after", Timeout: long, Measure: check.By(apiDown)},
		{ID: "late-app", Says: "an app that starts after the change is told, once, though the sidecar has restarted meanwhile", Timeout: long, Measure: check.By(lateApp)},
		{ID: "restart-keeps", Says: "sidecar and app, killed and started while the API is away, have the configuration as before", Timeout: long, Measure: check.By(restartKeeps)},
		{ID: "coalesced", Says: "50 changes in a second are at most 3 reloads, and the last one wins", Measure: check.By(coalesced)},
		{ID: "right-process", Says: "only the app gets the signal, whether a helper of its name is older or younger", Timeout: long, Measure: check.By(rightProcess)},
		{ID: "volume-full", Says: "a version that does not fit on the volume leaves the one before, whole, and the next that fits is applied", Measure: check.By(volumeFull)},
		{ID: "goes-back", Says: "SIGUSR1 brings back the version before within 2 s, and holds the one that it left until there is another", Measure: check.By(goesBack)},
	},
	Variants: []check.Variant{
		{Name: "in-place-write", Says: "files are written into, not replaced", Breaks: []string{"never-torn"}},
		{Name: "rename-per-file", Says: "each file is replaced whole, one after the other", Breaks: []string{"one-version"}, Keeps: []string{"never-torn"}},
		{Name: "restart", Says: "the app is ended so that it starts with the new files", Breaks: []string{"same-process"}},
		{Name: "no-signal", Says: "nobody tells the app", Breaks: []string{"propagates"}},
		{Name: "no-check", Says: "nobody checks a version", Breaks: []string{"bad-config"}},
		{Name: "signal-everyone", Says: "all processes of the name are signalled", Breaks: []string{"right-process"}},
		{Name: standIn, Says: "etcd in the API's place", Keeps: []string{"propagates", "one-version", "api-down"}},
	},
}

const (
	pod, api, sidecar, app, helper                 = "pod", "config-api", "config-sidecar", "app", "helper"
	httpPort, apiPort, adminPort, appAdmin, helped = 8080, 8080, 9090, 9091, 9092

	standIn = "etcd" // in the API's place, and at its port

	within  = 2 * time.Second // until the app has a change
	catchUp = 4 * time.Second // the same once the API is back: the wait for the next try is added
	patient = 20 * time.Second
	long    = 2 * time.Minute // restarts take their time on a busy machine
)
