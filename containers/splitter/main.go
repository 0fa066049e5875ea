// Splitter is an HTTP ambassador for experiments: it stands where the app was,
// and sends each request to one of several arms, most to production and a few
// to the experiment. Who is where, and why, can be asked.
//
//	ARMS='production=http://web:8080 weight=9, experiment=http://exp:8080 weight=1' splitter &
//	curl localhost:8080/
//	curl 'localhost:9090/why?address=10.0.0.7'
//
// Source: the request splitting example of the ambassador chapter in Brendan
// Burns, Designing Distributed Systems; the choices are nginx's
// (ngx_http_upstream_module, ngx_http_split_clients_module), the mirror is
// that of nginx and Traefik, the comparison Twitter's diffy.
package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"runtime"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/daemon"
)

const (
	name    = "splitter"
	summary = "Splitter sends a part of HTTP traffic to an experiment, and says which and why."
)

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	p.Fit(&cfg.MaxConnections, &cfg.MaxRequests, cfg.cost())
	metrics := NewMetrics(p.Metrics)
	splitter := &Splitter{
		Rules:   cfg.rules(),
		Budget:  balance.Budget{Ratio: cfg.RetryBudget, PerSecond: cfg.RetryBudgetMin},
		Metrics: metrics,
	}
	live := &Live{Splitter: splitter, Path: cfg.ArmsPath, Interval: cfg.WatchInterval, Log: p.Log, Metrics: metrics}
	if err := live.Start(cfg.Arms); err != nil {
		return err
	}
	p.Metrics.MustRegister(newStates(splitter))
	retry, err := cfg.retry()
	if err != nil {
		return err
	}
	proxy := &Proxy{
		Splitter: splitter, Forwarder: cfg.forwarder(), Upgrades: cfg.Upgrades, H2C: cfg.H2C, Retry: retry, Careful: !cfg.FastPath, Loops: loops(),
		ArmHeader: cfg.ArmHeader, ReasonHeader: cfg.ReasonHeader,
		Limits: cfg.limits(), Log: p.Log, Metrics: metrics,
	}
	proxy.Mirror = cfg.mirror(proxy)
	if cfg.RequestLog {
		proxy.Requests = NewRequestLog(os.Stdout)
	}
	ramps := &Ramps{Live: live, Log: p.Log}
	splitter.Observe = ramps.Observe
	admin := &Admin{Splitter: splitter, Live: live, Ramps: ramps, Context: ctx, Token: cfg.AdminToken}
	if proxy.Mirror != nil {
		admin.Compare = proxy.Mirror.Compare
	}
	admin.Register(p.Handle)
	p.Status(func() any { return newStatus(proxy, live, ramps) })

	ln, err := listen(ctx, string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Log.Info("listening", "address", ln.Addr().String(), "balance", cfg.Balance, "sticky", cfg.Sticky, "arms", len(splitter.Arms()))
	go live.Run(ctx, p.Reload)
	if cfg.HealthInterval > 0 {
		go cfg.health(splitter, proxy, p).Run(ctx)
	} else {
		p.Ready(true, "")
	}
	return p.Serve(ctx, ln, proxy)
}

func (cfg config) health(s *Splitter, proxy *Proxy, p *daemon.Process) *Health {
	return &Health{
		Splitter: s, Interval: cfg.HealthInterval, Timeout: cfg.HealthTimeout, Path: cfg.HealthPath,
		Rise: cfg.HealthRise, Fall: cfg.HealthFall, Log: p.Log,
		Transport: func(a *Arm) http.RoundTripper { return proxy.Engine().Transport(&a.Backend) },
		Checked:   func() { p.Ready(s.Usable() > 0, "no arm can be used") },
	}
}

// loops is how many the fast path has: one for each processor. Go gets one more
// to run its goroutines on, so that a loop under load may wait for its next event
// without giving up its own.
func loops() int {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return n
}

// listen does without multipath TCP, on which a listener cannot be told to
// stop.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(ctx, "tcp", addr)
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:     name,
		Summary:  summary,
		Run:      run,
		Commands: []daemon.Command{weightsCommand},
	}, os.Args[1:]))
}
