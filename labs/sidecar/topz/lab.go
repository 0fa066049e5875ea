// Package topz is the lab sidecar/topz: what a pod's processes use, shown by a sidecar that shares their PID namespace.
package topz

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	pod         = "pod"
	app         = "app"
	burner      = "burner"
	sidecar     = "topz-sidecar"
	topzPort    = 8081
	adminPort   = 9090
	burnerPort  = 9091
	appUser     = 65531
	burnerCores = 0.4       // the burner's limit
	burnerBytes = 192 << 20 // and that of its memory
)

// Lab is sidecar/topz.
var Lab = check.Lab{
	Name: "sidecar/topz",
	Claims: []check.Claim{
		{
			ID: "sees-app", Says: "every process of the pod is shown, in every format, and none of the host; a restarted app is shown again",
			Timeout: 90 * time.Second, Measure: check.By(seesApp),
		},
		{
			ID: "cpu-right", Says: "processor time is what the kernel gave the burner in the same time, at two appetites",
			Timeout: 90 * time.Second, Measure: check.By(cpuRight),
		},
		{
			ID: "sum-right", Says: "the time of children that end at once counts too, once",
			Timeout: 90 * time.Second, Measure: check.By(sumRight),
		},
		{ID: "memory-right", Says: "memory rises and falls by what the burner takes and gives back", Measure: check.By(memoryRight)},
		{
			ID: "limits", Says: "a container's limits, and how often it was throttled, stand beside what it uses",
			Timeout: 90 * time.Second, Measure: check.By(limits),
		},
		{
			ID: "survives-exit", Says: "no page fails while hundreds of processes end in the middle of a look, and the app among them",
			Timeout: 90 * time.Second, Measure: check.By(survivesExit),
		},
		{ID: "no-extra-rights", Says: "the sidecar has no right at all; what the kernel refuses is said field by field", Measure: check.By(noExtraRights)},
		{ID: "odd-names", Says: "no name that a process gives itself breaks a row, becomes markup or breaks a metric", Measure: check.By(oddNames)},
		{
			ID: "cheap", Says: "asked more than ten times a second it takes less than 5 % of a processor, or less than who reads the same each time, and looks no more often",
			Measure: check.By(cheap),
		},
	},
	Variants: []check.Variant{
		{Name: "separate-pid", Says: "the sidecar has a PID namespace of its own", Breaks: []string{"sees-app"}},
		{Name: "lifetime-average", Says: "processor time is an average since a process's start", Breaks: []string{"cpu-right"}},
		{Name: "live-only", Says: "the time of children that ended between two looks is lost", Breaks: []string{"sum-right"}},
	},
}
