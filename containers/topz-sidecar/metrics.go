package main

import "github.com/prometheus/client_golang/prometheus"

// collector makes metrics of the newest look at the time when it is asked. Labels are names made visible: valid UTF-8 on
// one line whatever a process calls itself.
type collector struct {
	sampler *Sampler
	totals  *Totals
}

var (
	groupCPU       = describe("group_cpu_seconds_total", "Processor time of a group's processes since the first look, the ended ones too.", "group")
	groupRead      = describe("group_read_bytes_total", "Bytes that a group's processes read from storage, where the kernel shows it.", "group")
	groupWrote     = describe("group_written_bytes_total", "Bytes that a group's processes wrote to storage, where the kernel shows it.", "group")
	groupBegun     = describe("group_started_total", "Processes of a group that were first seen after the first look.", "group")
	groupProcesses = describe("group_processes", "Processes of a group.", "group")
	groupThreads   = describe("group_threads", "Threads of a group.", "group")
	groupFiles     = describe("group_open_files", "Descriptors that a group has open, where the kernel shows it.", "group")
	groupResident  = describe("group_resident_bytes", "Resident memory of a group; pages that its processes share count for each.", "group")
	groupDenied    = describe("group_denied_processes", "Processes of a group of which the kernel refuses to show a part.", "group")

	containerKnown     = describe("container_cgroup_known", "1 if the control group of a container can be read, 0 if the kernel refuses.", "container", "group")
	containerCPU       = describe("container_cpu_seconds_total", "Processor time of a container, as its control group counts it.", "container", "group")
	containerCPULimit  = describe("container_cpu_limit_cores", "Processors that a container may use; absent without a limit.", "container", "group")
	containerPeriods   = describe("container_cpu_periods_total", "Periods of the quota in which a container ran.", "container", "group")
	containerThrottled = describe("container_cpu_throttled_periods_total", "Those in which it used its quota up.", "container", "group")
	containerStood     = describe("container_cpu_throttled_seconds_total", "Time that it stood still for that, summed over processors.", "container", "group")
	containerMemory    = describe("container_memory_used_bytes", "Memory of a container with the page cache.", "container", "group")
	containerWorking   = describe("container_memory_working_bytes", "The same without the cache that can go at once.", "container", "group")
	containerMemLimit  = describe("container_memory_limit_bytes", "Memory that a container may use; absent without a limit.", "container", "group")

	looks     = describe("looks_total", "Looks at the processes.")
	processes = describe("processes", "Processes seen at the last look.")
	leftOut   = describe("processes_left_out", "Processes beyond MAX_PROCESSES at the last look.")
	looked    = describe("last_look_timestamp_seconds", "When the last look was, in Unix time.")
	took      = describe("last_look_seconds", "How long the last look took.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("topz_sidecar_"+name, help, labels, nil)
}

// Describe gives none: the series depend on what runs.
func (c collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	for name, g := range c.totals.all() {
		send(groupCPU, counter, g.CPU.Seconds(), name)
		send(groupRead, counter, float64(g.Read), name)
		send(groupWrote, counter, float64(g.Wrote), name)
		send(groupBegun, counter, float64(g.Begun), name)
		send(groupProcesses, gauge, float64(g.Processes), name)
		send(groupThreads, gauge, float64(g.Threads), name)
		send(groupFiles, gauge, float64(g.Files), name)
		send(groupResident, gauge, float64(g.Resident), name)
		send(groupDenied, gauge, float64(g.Denied), name)
	}
	send(looks, counter, float64(c.sampler.looks.Load()))
	snap := c.sampler.Latest()
	if snap == nil {
		return
	}
	send(processes, gauge, float64(len(snap.Rows)))
	send(leftOut, gauge, float64(snap.LeftOut))
	send(looked, gauge, float64(snap.To.UnixMilli())/1e3)
	send(took, gauge, snap.Took.Seconds())
	for _, k := range snap.Containers {
		known := 0.0
		if k.Error == "" {
			known = 1
		}
		send(containerKnown, gauge, known, k.ID, k.Group)
		if u := k.usage.CPU; u.Known {
			send(containerCPU, counter, u.Used.Seconds(), k.ID, k.Group)
			send(containerPeriods, counter, float64(u.Periods), k.ID, k.Group)
			send(containerThrottled, counter, float64(u.Throttled), k.ID, k.Group)
			send(containerStood, counter, u.ThrottledTime.Seconds(), k.ID, k.Group)
			if u.Limit > 0 {
				send(containerCPULimit, gauge, u.Limit, k.ID, k.Group)
			}
		}
		if u := k.usage.Memory; u.Known {
			send(containerMemory, gauge, float64(u.Used), k.ID, k.Group)
			send(containerWorking, gauge, float64(u.Working), k.ID, k.Group)
			if u.Limit > 0 {
				send(containerMemLimit, gauge, float64(u.Limit), k.ID, k.Group)
			}
		}
	}
}
