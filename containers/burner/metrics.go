package main

import "github.com/prometheus/client_golang/prometheus"

// register adds what it takes to its own metrics.
func (b *burner) register(reg *prometheus.Registry) {
	counter := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "burner_" + name, Help: help}, f))
	}
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "burner_" + name, Help: help}, f))
	}
	counter("cpu_seconds_total", "Processor time taken.", func() float64 {
		own, _ := processorTime()
		return own.Seconds()
	})
	counter("children_cpu_seconds_total", "Processor time of children that have ended.", func() float64 {
		_, theirs := processorTime()
		return theirs.Seconds()
	})
	counter("children_started_total", "Brief children started.", func() float64 {
		started, _, _ := b.children.Counts()
		return float64(started)
	})
	counter("children_skipped_total", "Brief children not started: too many were running, or it was refused.", func() float64 {
		_, skipped, _ := b.children.Counts()
		return float64(skipped)
	})
	gauge("cpu_appetite_cores", "Processors that it is to keep busy.", b.cpu.Appetite)
	gauge("memory_held_bytes", "Memory that it holds.", func() float64 { return float64(b.memory.Size()) })
}
