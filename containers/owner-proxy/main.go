// Owner-proxy is one address that leads to the owner of an election, whoever that is: it reads the election's key in etcd, and
// passes HTTP requests on. While there is no owner they wait for one.
//
//	ELECTION=ledger ETCD_ENDPOINTS=http://etcd:2379 owner-proxy &
//	curl -i localhost:8080/
//	curl localhost:9090/status
//
// Source: the ownership election of Brendan Burns, Designing Distributed Systems, chapter 9; 421 is RFC 9110, section 15.5.20.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/etcd"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
	"distlab/containers/internal/names"
)

const (
	name    = "owner-proxy"
	summary = "Owner-proxy is one address that leads to the owner of an election, and waits while there is none."
)

type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to serve HTTP on"`
	Election   string   `env:"ELECTION" help:"name of the election, as the electors have it"`

	Endpoints   []string      `env:"ETCD_ENDPOINTS" default:"http://etcd:2379" help:"etcd's members; another one is asked when one does not answer"`
	KeyPrefix   string        `env:"KEY_PREFIX" default:"/elections/" help:"what the key of the election begins with, as the electors have it"`
	EtcdTimeout time.Duration `env:"ETCD_TIMEOUT" default:"1s" min:"10ms" help:"time for etcd to answer"`
	Relist      time.Duration `env:"RELIST" default:"2s" min:"50ms" help:"how often to read the key, whatever the watch says"`

	Wait       time.Duration `env:"WAIT" default:"10s" help:"how long a request may wait for an owner that takes it; then it is answered 503 with Retry-After; 0: not at all"`
	MaxWaiting int           `env:"MAX_WAITING" default:"1000" min:"0" help:"requests that may wait at a time; more are answered 503 at once"`
	Grace      time.Duration `env:"DEPOSED_GRACE" default:"1s" help:"time for an owner that another one has followed to answer what it was asked before"`
	KeepBody   env.Bytes     `env:"KEEP_BODY" default:"64KiB" max:"16MiB" help:"how much of a body is kept to be sent to the next owner, where the first says that it is none"`

	OwnerHeader    string         `env:"OWNER_HEADER" default:"X-Owner" help:"header of answers that names the owner that was asked; none: not said"`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" default:"" help:"networks whose X-Forwarded-* and Forwarded are believed and added to; those of others are dropped"`
	Upgrades       []string       `env:"UPGRADES" default:"websocket" help:"protocols that a connection may be upgraded to"`

	MaxConnections  int           `env:"MAX_CONNECTIONS" default:"20000" min:"0" help:"connections at once; then idle ones make room, or new ones are closed; lowered at the start to what memory and file descriptors bear; 0: no limit"`
	MaxRequests     int           `env:"MAX_REQUESTS" default:"10000" min:"0" help:"requests and upgraded connections at once; more are answered 503; lowered as well; 0: no limit"`
	MaxHeaderBytes  env.Bytes     `env:"MAX_HEADER_BYTES" default:"32KiB" min:"1KiB" max:"1MiB" help:"size of a request's head"`
	HeaderTimeout   time.Duration `env:"HEADER_TIMEOUT" default:"10s" help:"time to send a request's head; 0: no limit, here and below"`
	BodyTimeout     time.Duration `env:"BODY_TIMEOUT" default:"60s" help:"time between two parts of a request's body"`
	SendTimeout     time.Duration `env:"SEND_TIMEOUT" default:"60s" help:"time for a client to take the next part of an answer"`
	IdleTimeout     time.Duration `env:"IDLE_TIMEOUT" default:"120s" help:"time between two requests on a connection"`
	TunnelTimeout   time.Duration `env:"TUNNEL_TIMEOUT" default:"0s" help:"time without a byte on upgraded connections"`
	ConnectTimeout  time.Duration `env:"CONNECT_TIMEOUT" default:"1s" help:"time to connect to the owner"`
	ResponseTimeout time.Duration `env:"RESPONSE_TIMEOUT" default:"60s" help:"time for the owner to begin its answer"`
	OwnerIdle       time.Duration `env:"OWNER_IDLE_TIMEOUT" default:"4s" help:"time to keep an idle connection to the owner; shorter than the owner's own"`

	daemon.Config
}

// Check finds what is no name, URL or header.
func (cfg config) Check() error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if !names.Plain(cfg.Election) {
		add("ELECTION=%.80q: not %s", cfg.Election, names.What)
	}
	if err := etcd.CheckEndpoints(cfg.Endpoints); err != nil {
		add("ETCD_ENDPOINTS: %w", err)
	}
	if h := cfg.OwnerHeader; strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
		add("OWNER_HEADER=%.80q: not a name", h)
	}
	return errors.Join(bad...)
}

func (cfg config) limits() forward.Limits {
	return forward.Limits{
		Connections: cfg.MaxConnections, Requests: cfg.MaxRequests, HeaderBytes: int(cfg.MaxHeaderBytes),
		Header: cfg.HeaderTimeout, Body: cfg.BodyTimeout, Send: cfg.SendTimeout, Idle: cfg.IdleTimeout,
		Tunnel: cfg.TunnelTimeout, Connect: cfg.ConnectTimeout, Response: cfg.ResponseTimeout, ServerIdle: cfg.OwnerIdle,
	}
}

// cost is the splitter's, which has the same engine: an idle connection 21 KiB, a request 67 KiB.
var cost = daemon.Cost{Own: 16 << 20, Connection: 24 << 10, Request: 80 << 10}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	p.Fit(&cfg.MaxConnections, &cfg.MaxRequests, cost)
	metrics := newMetrics(p.Metrics)
	watch := &Watch{
		Key: cfg.KeyPrefix + cfg.Election + "/owner", Relist: cfg.Relist,
		Client: &etcd.Client{
			Endpoints: cfg.Endpoints, Timeout: cfg.EtcdTimeout, Most: 64 << 10,
			HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}},
		},
		Ready: p.Ready, Log: p.Log, Metrics: metrics,
	}
	proxy := &Proxy{
		Owner: &watch.Owner, Wait: cfg.Wait, MaxWaiting: int64(cfg.MaxWaiting), Grace: cfg.Grace, KeepBody: int(cfg.KeepBody),
		OwnerHeader: cfg.OwnerHeader, Upgrades: cfg.Upgrades, Limits: cfg.limits(),
		Forwarder: &http1.Forwarder{Trusted: cfg.TrustedProxies, Scheme: "http"}, Log: p.Log, Metrics: metrics,
	}
	metrics.watch(p.Metrics, watch, proxy)
	p.Status(func() any { return newStatus(watch, proxy) })
	var config net.ListenConfig
	config.SetMultipathTCP(false) // on which a listener cannot be told to stop
	ln, err := config.Listen(ctx, "tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Log.Info("listening", "address", ln.Addr().String(), "election", cfg.Election)
	go watch.Run(context.WithoutCancel(ctx)) // what is in flight at the end may still have to wait for an owner
	return p.Serve(ctx, ln, proxy)
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{Name: name, Summary: summary, Run: run}, os.Args[1:]))
}
