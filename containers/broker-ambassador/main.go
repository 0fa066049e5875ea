// Broker-ambassador lets an app say localhost: it finds the instance for this environment in a registry, and passes
// connections of any protocol on to it.
//
//	SERVICES=redis=127.0.0.1:6379 SELECT=env=staging ETCD_ENDPOINTS=http://etcd:2379 broker-ambassador &
//	redis-cli ping
//	curl localhost:9090/status
//
// Sources: the service broker of Brendan Burns, Designing Distributed Systems, chapter 3; the last good answer is that of
// Airbnb's synapse (use_previous_backends, state file), that a check decides against the registry is Envoy's.
package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/dial"
	"distlab/containers/internal/etcd"
)

const (
	name    = "broker-ambassador"
	summary = "Broker-ambassador lets an app say localhost: it finds the instance for this environment in a registry, and passes connections of any protocol on to it."
)

// mostAnswer bounds what etcd may say at a time.
const mostAnswer = 8 << 20

// stale is how long the addresses of an instance's name are used when its DNS server is away: no registry is trusted less.
const stale = time.Hour

// sources are the registries, each with the services that it is asked for.
func (c config) sources(p plan) (map[Source][]string, error) {
	switch c.Source {
	case "etcd":
		client := &etcd.Client{Endpoints: c.EtcdEndpoints, HTTP: &http.Client{}, Timeout: c.RegistryTimeout, Most: mostAnswer}
		return map[Source][]string{&Etcd{Client: client, Prefix: c.EtcdPrefix, Relist: c.Relist}: p.names}, nil
	case "file":
		return map[Source][]string{&File{Path: c.FilePath, Poll: c.FileInterval}: p.names}, nil
	}
	server := c.DNSServer
	if server == "" {
		var err error
		if server, err = nameserver("/etc/resolv.conf"); err != nil {
			return nil, err
		}
	}
	all := map[Source][]string{}
	for _, n := range p.names { // one that fails is no reason to doubt another
		all[&DNS{Service: n, Name: p.dns[n], Server: server, Min: c.DNSMin, Max: c.DNSMax, Timeout: c.RegistryTimeout}] = []string{n}
	}
	return all, nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	plan, err := cfg.plan()
	if err != nil {
		return err
	}
	sources, err := cfg.sources(plan)
	if err != nil {
		return err
	}
	b := &Broker{Process: p, StateFile: cfg.StateFile, Pause: cfg.RegistryPause, change: make(chan struct{}, 1), save: make(chan struct{}, 1)}
	dialer := &dial.Dialer{Names: &dial.Names{Keep: time.Second, Stale: stale}}
	for _, n := range plan.names {
		b.Services = append(b.Services, &Service{
			Name: n, Select: plan.label, Check: plan.checks[n], Log: p.Log, Dial: dialer.DialContext,
			Policy: Policy{
				Keep: cfg.Keep, TrustEmpty: cfg.Empty == "believe", CheckInterval: cfg.CheckInterval, CheckTimeout: cfg.CheckTimeout,
				CheckFall: cfg.CheckFall, ConnectTimeout: cfg.ConnectTimeout, LeaveTimeout: cfg.LeaveTimeout,
			},
			Changed: func() { poke(b.change) }, Believed: func() { poke(b.save) },
		})
	}
	if most := fit(cfg.MaxConnections, daemon.Available().Files); most < cfg.MaxConnections {
		p.Log.Info("limit lowered", "max_connections", most, "reason", "descriptors")
		cfg.MaxConnections = most
	}
	places := make(chan struct{}, cfg.MaxConnections)
	var listeners []net.Listener
	for _, n := range plan.names {
		ln, err := net.Listen("tcp", plan.listen[n])
		if err != nil {
			return err
		}
		defer ln.Close()
		listeners = append(listeners, ln)
		p.Log.Info("listening", "service", n, "address", ln.Addr().String())
	}
	p.Metrics.MustRegister(collector{b})
	p.Status(func() any { return b.Status(plan.listen) })

	// What watches goes on during the drain: the connections that are left have instances that may leave.
	watching, stop := context.WithCancel(context.Background())
	defer stop()
	b.Start(watching, sources)
	ended := make(chan error, len(listeners))
	serving, cut := context.WithCancel(ctx)
	defer cut()
	for i, s := range b.Services {
		door := &Door{Service: s, Places: places}
		go func() { ended <- door.Serve(serving, listeners[i], p.DrainContext) }()
	}
	var errs []error
	for range listeners {
		err := <-ended
		errs = append(errs, err)
		cut() // one that broke takes the others with it
	}
	stop()
	b.Wait()
	return errors.Join(errs...)
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name: name, Summary: summary, Run: run, Commands: []daemon.Command{registerCommand, registeredCommand},
	}, os.Args[1:]))
}

// reserve are descriptors for all but the app's connections: listeners, checks, the registry, the state file.
const reserve = 64

// fit is how many connections so many descriptors bear: each is one to the app and one to an instance. 0 files is unknown.
func fit(most int, files uint64) int {
	if files == 0 {
		return most
	}
	return max(1, min(most, (int(min(files, 1<<30))-reserve)/2))
}
