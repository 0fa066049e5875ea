// Package metrics is the lab adapter/metrics: the numbers of a Redis and an nginx for Prometheus.
package metrics

import (
	"time"

	"distlab/lab/check"
)

// The lab's services, ports and settings, as the compose file has them.
const (
	redisPod   = "redis-pod"
	redis      = "redis"
	redis2     = "redis-2"
	nginxPod   = "nginx-pod"
	nginx      = "nginx"
	adapter    = "redis-metrics"
	prometheus = "prometheus"

	metricsPort    = 9121
	adminPort      = 9090
	webPort        = 8080
	prometheusPort = 9090

	elsewhere = "/scrape?target=" + redis2 + ":6379"

	timeout = 4 * time.Second // of a collection

	// margin is for the way to the adapter and back on a busy machine.
	margin = 500 * time.Millisecond

	// patience is what a precondition gets.
	patience = 20 * time.Second
)

// Lab is adapter/metrics.
var Lab = check.Lab{
	Name: "adapter/metrics",
	Claims: []check.Claim{
		{
			ID: "agrees", Says: "under load and after it every counter is what INFO and stub_status say",
			Timeout: 90 * time.Second, Measure: check.By(agrees),
		},
		{ID: "names", Says: "names, types and labels are those of the usual exporters, in Prometheus' text and in OpenMetrics", Measure: check.By(names)},
		{ID: "lint", Says: "promlint finds fault with the list of legacy names, and with nothing else", Measure: check.By(lint)},
		{ID: "dashboard", Says: "the dashboard asks for nothing that Prometheus does not have", Measure: check.By(dashboard)},
		{ID: "scraped", Says: "a real Prometheus has the values, legacy names and a recorded rate among them, within seconds", Measure: check.By(scraped)},
		{
			ID: "hung", Says: "a Redis that hangs costs a scrape its own time limit and no more, and another Redis' scrape nothing",
			Timeout: 90 * time.Second, Measure: check.By(hung),
		},
		{ID: "cheap", Says: "fifty scrapes at a time are one INFO", Measure: check.By(cheap)},
		{
			ID: "up-zero", Says: "with the server stopped every scrape is 200, up 0 and nothing of before, and soon up 1 once it runs again",
			Timeout: 2 * time.Minute, Measure: check.By(upZero),
		},
		{
			ID: "alerts", Says: "Prometheus' alert fires within 8 s when Redis is stopped, for that Redis alone, and resolves within 8 s of its return",
			Timeout: 2 * time.Minute, Measure: check.By(alerts),
		},
	},
	Variants: []check.Variant{
		{Name: "dies-with-app", Says: "the adapter ends with its server", Breaks: []string{"up-zero"}},
		{Name: "cached-forever", Says: "what was once asked is told again and again", Breaks: []string{"agrees"}},
		{Name: "exporters", Says: "redis_exporter and nginx-prometheus-exporter in the adapters' place", Keeps: []string{"agrees", "names", "scraped"}},
	},
}
