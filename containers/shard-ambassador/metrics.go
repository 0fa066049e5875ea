package main

import (
	"distlab/containers/shard-ambassador/proxy"

	"github.com/prometheus/client_golang/prometheus"
)

// collector makes metrics of what the loops have counted, when asked.
type collector struct{ server *proxy.Server }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("shard_ambassador_"+name, help, labels, nil)
}

var (
	descClients  = desc("clients", "Connected clients.", "pool")
	descAccepted = desc("clients_total", "Clients accepted.", "pool")
	descRejected = desc("clients_rejected_total", "Clients over CLIENT_CONNECTIONS, or for which there is no descriptor.", "pool")
	descSlow     = desc("clients_cut_total", "Clients cut off since they did not read their replies.", "pool")
	descForeign  = desc("clients_foreign_total", "Clients that were ended since they spoke another protocol: HTTP, TLS, memcached.", "pool")
	descAsked    = desc("client_requests_total", "Requests of clients.", "pool")
	descRefused  = desc("client_requests_refused_total", "Requests of clients that were answered with an error of the ambassador's own, since they have no meaning over shards or are wrong.", "pool")
	descParts    = desc("request_parts_total", "Parts of requests that were taken apart by shard.", "pool")

	descRequests  = desc("shard_requests_total", "Requests sent to the shard.", "pool", "shard")
	descReqBytes  = desc("shard_request_bytes_total", "Their bytes.", "pool", "shard")
	descReplies   = desc("shard_replies_total", "Replies of the shard.", "pool", "shard")
	descRepBytes  = desc("shard_reply_bytes_total", "Their bytes.", "pool", "shard")
	descErrors    = desc("shard_errors_total", "Failures of the shard: connect, timeout, closed, broken, protocol, reply (one of FAILURE_REPLIES), ejected (not tried); and what is not its fault: local (this machine lacks something), client (what a client wants).", "pool", "shard", "kind")
	descEjections = desc("shard_ejections_total", "Times the shard was ejected.", "pool", "shard")
	descEjected   = desc("shard_ejected", "1 while the shard is ejected.", "pool", "shard")
	descInFlight  = desc("shard_in_flight", "Requests without a reply.", "pool", "shard")
	descConns     = desc("shard_connections", "Connections to the shard.", "pool", "shard")
	descLatency   = desc("shard_reply_seconds", "From taking a request to the end of its reply.", "pool", "shard")
)

// Describe is prometheus.Collector's.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descClients, descAccepted, descRejected, descSlow, descForeign, descAsked, descRefused, descParts, descRequests, descReqBytes, descReplies,
		descRepBytes, descErrors, descEjections, descEjected, descInFlight, descConns, descLatency,
	} {
		ch <- d
	}
}

// Collect is prometheus.Collector's.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for _, p := range c.server.Snapshot() {
		pool := p.Config.Name
		gauge(descClients, p.Clients, pool)
		counter(descAccepted, p.Accepted, pool)
		counter(descRejected, p.Rejected, pool)
		counter(descSlow, p.SlowClients, pool)
		counter(descForeign, p.Foreign, pool)
		counter(descAsked, p.Requests, pool)
		counter(descRefused, p.Refused, pool)
		counter(descParts, p.Fragments, pool)
		for _, s := range p.Shards {
			name := s.Server.Name
			counter(descRequests, s.Requests, pool, name)
			counter(descReqBytes, s.RequestBytes, pool, name)
			counter(descReplies, s.Responses, pool, name)
			counter(descRepBytes, s.ResponseBytes, pool, name)
			for _, kind := range proxy.ErrorKinds() {
				counter(descErrors, s.Errors[kind], pool, name, kind.String())
			}
			counter(descEjections, s.Ejections, pool, name)
			ejected := 0
			if s.Ejected {
				ejected = 1
			}
			gauge(descEjected, ejected, pool, name)
			gauge(descInFlight, s.InFlight, pool, name)
			gauge(descConns, s.Connections, pool, name)
			ch <- histogram(&s.Latency, pool, name)
		}
	}
}

func histogram(h *proxy.Histogram, labels ...string) prometheus.Metric {
	bounds, sum := map[float64]uint64{}, uint64(0)
	for i, n := range h.Counts {
		sum += n
		if i < len(h.Counts)-1 {
			bounds[proxy.Bound(i)] = sum
		}
	}
	return prometheus.MustNewConstHistogram(descLatency, sum, h.Sum.Seconds(), bounds, labels...)
}
