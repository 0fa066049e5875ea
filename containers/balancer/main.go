// Balancer is one address for a set of replicas: it deals HTTP requests, or TCP connections, among those that can be used.
//
//	REPLICAS_NAME=web:8080 HEALTH_PATH=/readyz balancer &
//	curl localhost:8080/
//	curl localhost:9090/status
//
// Source: the replicated load-balanced services of Brendan Burns, Designing Distributed Systems, chapter 5; the choices are
// nginx's (smooth weighted round robin, hash … consistent) and Envoy's (two random choices, outlier detection, panic
// threshold), the retry budget Finagle's.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/forward"
)

const (
	name    = "balancer"
	summary = "Balancer is one address for a set of replicas: it deals requests among those that can be used."
)

// Status is /status.
type Status struct {
	Mode     string  `json:"mode"`
	Policy   string  `json:"policy"`
	Key      string  `json:"key,omitempty"`
	Replicas []State `json:"replicas"`
	Usable   int     `json:"usable"`
	InFlight int     `json:"in_flight"`
	Waiting  int     `json:"waiting"`
	Read     string  `json:"read"`                 // when it was last read who the replicas are, RFC 3339
	Error    string  `json:"read_error,omitempty"` // and why that went wrong
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	p.Fit(&cfg.MaxConnections, &cfg.MaxRequests, cfg.cost())
	metrics := NewMetrics(p.Metrics)
	pool := cfg.pool(metrics)
	members := &Membership{
		Pool: pool, Path: cfg.ReplicasPath, Name: cfg.ReplicasName, Interval: cfg.Interval, Lookup: lookup, Log: p.Log, Metrics: metrics,
	}
	if err := members.Start(ctx, cfg.Replicas); err != nil {
		return err
	}
	server, inFlight, transport := cfg.server(pool, p, metrics)
	p.Metrics.MustRegister(newStates(pool, inFlight))
	p.Status(func() any {
		when, err := members.Last()
		usable, _ := pool.Usable()
		s := Status{
			Mode: cfg.Mode, Policy: cfg.Policy, Key: pool.Key.String(), Replicas: pool.States(), Usable: usable,
			InFlight: inFlight(), Waiting: pool.Waiting(), Read: when.UTC().Format(time.RFC3339Nano),
		}
		if err != nil {
			s.Error = err.Error()
		}
		return s
	})
	var config net.ListenConfig
	config.SetMultipathTCP(false) // on which a listener cannot be told to stop
	ln, err := config.Listen(ctx, "tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Log.Info("listening", "address", ln.Addr().String(), "mode", cfg.Mode, "policy", cfg.Policy)
	ready := func() {
		usable, all := pool.Usable()
		p.Ready(usable > 0, fmt.Sprintf("none of %d replicas can be used", all))
	}
	go members.Run(ctx, p.Reload)
	if cfg.HealthInterval > 0 {
		health := &Health{
			Pool: pool, Interval: cfg.HealthInterval, Timeout: cfg.HealthTimeout, Path: cfg.HealthPath,
			Rise: cfg.HealthRise, Fall: cfg.HealthFall, Transport: transport, Log: p.Log, Checked: ready,
		}
		go health.Run(ctx)
	} else {
		ready()
	}
	return p.Serve(ctx, ln, server)
}

// server is what carries requests, or connections.
func (cfg config) server(pool *Pool, p *daemon.Process, m *Metrics) (
	s daemon.Server, inFlight func() int, transport func(*forward.Backend) http.RoundTripper,
) {
	limits := cfg.limits()
	if cfg.Mode == "tcp" {
		relay := &Relay{
			Pool: pool, Connect: cfg.ConnectTimeout, Idle: cfg.TunnelTimeout, Half: time.Minute, Log: p.Log, Metrics: m,
			Door: forward.Door{Max: cfg.MaxConnections},
		}
		checks := limits.NewTransport(false)
		return relay, relay.InFlight, func(*forward.Backend) http.RoundTripper { return checks }
	}
	retry, _ := cfg.retry() // check has seen it
	proxy := &Proxy{
		Pool: pool, Forwarder: cfg.forwarder(), Limits: limits, Retry: retry, Log: p.Log, Metrics: m,
		Wait: cfg.QueueTime, Hedge: cfg.Hedge, ReplicaHeader: cfg.ReplicaHeader, Upgrades: cfg.Upgrades, H2C: cfg.H2C,
		Careful: !cfg.FastPath, Loops: runtime.GOMAXPROCS(0),
	}
	if cfg.StickyCookie != "" {
		proxy.Sticky = &Sticky{Name: cfg.StickyCookie, Secret: cfg.StickySecret}
	}
	// One processor more to run goroutines on, so that a loop under load may wait for its next event without giving up its own.
	runtime.GOMAXPROCS(proxy.Loops + 1)
	return proxy, func() int { return proxy.Engine().InFlight() }, proxy.Engine().Transport
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{Name: name, Summary: summary, Run: run}, os.Args[1:]))
}
