package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/balance"
	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// config is the settings.
type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to serve on"`
	Mode       string   `env:"MODE" default:"http" oneof:"http|tcp" help:"what is balanced: HTTP requests, or TCP connections whatever they carry"`

	Replicas     []Member      `env:"REPLICAS" default:"" help:"the replicas: web-1:8080, web-2:8080 weight=2; after the address also max_conns=N and drain (nobody new, but for those whom a cookie has put there)"`
	ReplicasPath string        `env:"REPLICAS_PATH" default:"" help:"file with the same, a line for each, # begins a comment; read again when it changes and at SIGHUP"`
	ReplicasName string        `env:"REPLICAS_NAME" default:"" help:"host:port, of which every address is a replica; asked for again and again; an answer without one is not believed"`
	Interval     time.Duration `env:"REPLICAS_INTERVAL" default:"1s" min:"50ms" help:"how often to ask for the name, or to look at the file besides being told by the kernel"`

	Policy    string        `env:"POLICY" default:"smooth" oneof:"smooth|least|hash" help:"how a replica is chosen: nginx's smooth weighted round robin; of two at random the one with less in flight for its weight; or nginx's hash … consistent"`
	HashKey   balance.Key   `env:"HASH_KEY" default:"" help:"what hash hashes, in nginx's words; none: $remote_addr; else text and $remote_addr, $uri, $request_uri, $args, $host, $request_method, $arg_NAME, $cookie_NAME, $http_NAME, ${…}"`
	HashBound float64       `env:"HASH_BOUND" default:"0" min:"0" max:"100" help:"under hash: how much more than its fair share a replica may have in flight, 0.25 for a quarter, before a key goes on to the next; 0: no bound"`
	SlowStart time.Duration `env:"SLOW_START" default:"10s" help:"time in which a replica that joins or comes back gets its full share; not under hash; 0: at once"`

	StickyCookie string `env:"STICKY_COOKIE" default:"" help:"name of a cookie that keeps a browser at its replica; none: no cookie"`
	StickySecret string `env:"STICKY_SECRET" default:"" secret:"true" help:"makes the cookie's value one that nobody can guess"`

	HealthInterval time.Duration `env:"HEALTH_INTERVAL" default:"1s" help:"how often to check each replica; 0: never, and all take part at once"`
	HealthTimeout  time.Duration `env:"HEALTH_TIMEOUT" default:"1s" min:"1ms" help:"time for a check"`
	HealthPath     string        `env:"HEALTH_PATH" default:"" help:"what to GET, 2xx and 3xx are well; none: a replica that accepts connections is"`
	HealthRise     int           `env:"HEALTH_RISE" default:"2" min:"1" help:"good checks in a row that let a replica in; the first check decides alone"`
	HealthFall     int           `env:"HEALTH_FALL" default:"2" min:"1" help:"bad checks in a row that take it out"`

	EjectAfter int           `env:"EJECT_AFTER" default:"5" min:"0" help:"failures in a row after which a replica is left alone for a while; 0: never"`
	EjectTime  time.Duration `env:"EJECT_TIME" default:"10s" min:"1ms" help:"for how long the first time; then 2, 3, 4 … times as long, give or take a tenth"`
	EjectMost  time.Duration `env:"EJECT_MAX_TIME" default:"5m" min:"1ms" help:"for how long at most"`
	EjectShare float64       `env:"EJECT_MAX_PERCENT" default:"50" min:"0" max:"100" help:"part of the replicas that may be left alone at once; one may always"`
	Panic      float64       `env:"PANIC_PERCENT" default:"0" min:"0" max:"100" help:"when less than this part of the replicas can be used, all are: better some failures than the few overrun; not when none can; 0: never"`

	RetryOn     []string      `env:"RETRY_ON" default:"error,timeout,http_502,http_503,http_504" help:"what is a failure that sends a request to another replica if that is safe: error, timeout, http_NNN; non_idempotent: send every method once more; none: nothing is"`
	RetryBudget float64       `env:"RETRY_BUDGET" default:"0.2" min:"0" max:"1" help:"share of the requests that may be sent once more"`
	RetryMin    float64       `env:"RETRY_BUDGET_MIN" default:"10" min:"0" help:"how many in a second may be, besides"`
	RetryBody   env.Bytes     `env:"RETRY_BODY" default:"64KiB" max:"16MiB" help:"how much of a body is kept to be sent once more"`
	Hedge       time.Duration `env:"HEDGE_AFTER" default:"0s" help:"ask a second replica when the first has not answered an idempotent request without a body for so long, within the budget; 0: never"`

	QueueSize int           `env:"QUEUE_SIZE" default:"1000" min:"0" help:"requests that may wait when every replica has max_conns in flight"`
	QueueTime time.Duration `env:"QUEUE_TIMEOUT" default:"5s" help:"how long they may; 0: not at all"`

	ReplicaHeader  string         `env:"REPLICA_HEADER" default:"" help:"header of answers that names the replica, such as X-Replica; none: not said"`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" default:"" help:"networks whose X-Forwarded-* and Forwarded are believed and added to; those of others are dropped"`
	Upgrades       []string       `env:"UPGRADES" default:"websocket" help:"protocols that a connection may be upgraded to"`
	H2C            bool           `env:"H2C" default:"false" help:"speak HTTP/2 cleartext to clients beside HTTP/1.1"`
	FastPath       bool           `env:"FAST_PATH" default:"true" help:"forward plain HTTP/1.1 exchanges on event loops; false leaves all of them to Go's HTTP server, as does HEDGE_AFTER"`

	MaxConnections  int           `env:"MAX_CONNECTIONS" default:"20000" min:"0" help:"connections at once; then idle ones make room, or new ones are closed; lowered at the start to what memory and file descriptors bear; 0: no limit"`
	MaxRequests     int           `env:"MAX_REQUESTS" default:"10000" min:"0" help:"requests and upgraded connections at once; more are answered 503; lowered as well; 0: no limit"`
	MaxHeaderBytes  env.Bytes     `env:"MAX_HEADER_BYTES" default:"32KiB" min:"1KiB" max:"1MiB" help:"size of a request's head"`
	HeaderTimeout   time.Duration `env:"HEADER_TIMEOUT" default:"10s" help:"time to send a request's head; 0: no limit, here and below"`
	BodyTimeout     time.Duration `env:"BODY_TIMEOUT" default:"60s" help:"time between two parts of a request's body"`
	SendTimeout     time.Duration `env:"SEND_TIMEOUT" default:"60s" help:"time for a client to take the next part of an answer"`
	IdleTimeout     time.Duration `env:"IDLE_TIMEOUT" default:"120s" help:"time between two requests on a connection"`
	TunnelTimeout   time.Duration `env:"TUNNEL_TIMEOUT" default:"0s" help:"time without a byte on upgraded connections, and in TCP mode"`
	ConnectTimeout  time.Duration `env:"CONNECT_TIMEOUT" default:"1s" help:"time to connect to a replica"`
	ResponseTimeout time.Duration `env:"RESPONSE_TIMEOUT" default:"60s" help:"time for a replica to begin its answer"`
	ReplicaIdle     time.Duration `env:"REPLICA_IDLE_TIMEOUT" default:"4s" help:"time to keep an idle connection to a replica; shorter than the replica's own"`

	daemon.Config
}

// Check finds settings that contradict each other, all of them.
func (cfg config) Check() error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	named := 0
	for _, set := range []bool{len(cfg.Replicas) > 0, cfg.ReplicasPath != "", cfg.ReplicasName != ""} {
		if set {
			named++
		}
	}
	switch {
	case named == 0:
		add("REPLICAS: no replica: set REPLICAS, REPLICAS_PATH or REPLICAS_NAME")
	case named > 1:
		add("REPLICAS, REPLICAS_PATH, REPLICAS_NAME: set one of them")
	case len(cfg.Replicas) > 0:
		if err := checkMembers(cfg.Replicas); err != nil {
			add("REPLICAS: %w", err)
		}
	case cfg.ReplicasName != "":
		if err := checkAddr(cfg.ReplicasName); err != nil {
			add("REPLICAS_NAME=%w", err)
		}
	}
	if _, err := cfg.retry(); err != nil {
		add("RETRY_ON: %w", err)
	}
	if cfg.HashBound > 0 && cfg.Policy != "hash" {
		add("HASH_BOUND: means nothing without POLICY=hash")
	}
	if !cfg.HashKey.None() && cfg.Policy != "hash" {
		add("HASH_KEY: means nothing without POLICY=hash")
	}
	if cfg.StickySecret != "" && cfg.StickyCookie == "" {
		add("STICKY_SECRET: means nothing without STICKY_COOKIE")
	}
	for _, h := range [][2]string{{"STICKY_COOKIE", cfg.StickyCookie}, {"REPLICA_HEADER", cfg.ReplicaHeader}} {
		if h[1] != "" && strings.ContainsFunc(h[1], func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
			add("%s=%q: not a name", h[0], h[1])
		}
	}
	if cfg.HealthPath != "" && !strings.HasPrefix(cfg.HealthPath, "/") {
		add("HEALTH_PATH=%q: does not begin with /", cfg.HealthPath)
	}
	if cfg.Mode == "tcp" {
		if cfg.StickyCookie+cfg.ReplicaHeader != "" || cfg.Hedge > 0 || cfg.H2C {
			add("MODE=tcp: STICKY_COOKIE, REPLICA_HEADER, HEDGE_AFTER and H2C are of HTTP")
		}
		if key := cfg.HashKey.String(); key != "" && key != "$remote_addr" {
			add("MODE=tcp: HASH_KEY can be $remote_addr alone")
		}
	}
	return errors.Join(bad...)
}

func (cfg config) retry() (Retry, error) {
	r := Retry{Status: map[int]bool{}, Body: int(cfg.RetryBody)}
	for _, word := range cfg.RetryOn {
		code, err := strconv.Atoi(strings.TrimPrefix(word, "http_"))
		switch {
		case word == "none" && len(cfg.RetryOn) == 1:
			return Retry{}, nil
		case word == "error", word == "timeout":
			r.On = true
		case word == "non_idempotent":
			r.NonIdempotent = true
		case err == nil && strings.HasPrefix(word, "http_") && code >= 400 && code <= 599:
			r.On, r.Status[code] = true, true
		default:
			return r, fmt.Errorf("%q is none of error, timeout, non_idempotent, http_400 to http_599; or none, alone", word)
		}
	}
	return r, nil
}

func (cfg config) pool(m *Metrics) *Pool {
	p := &Pool{
		Policy: cfg.Policy, Bound: cfg.HashBound, Checks: cfg.HealthInterval > 0,
		Eject:     Ejection{After: cfg.EjectAfter, For: cfg.EjectTime, Most: cfg.EjectMost, Share: cfg.EjectShare / 100},
		Panic:     cfg.Panic / 100,
		SlowStart: cfg.SlowStart, Queue: cfg.QueueSize, Metrics: m,
		Budget: balance.Budget{Ratio: cfg.RetryBudget, PerSecond: cfg.RetryMin},
	}
	if cfg.Policy == "hash" {
		if p.Key = cfg.HashKey; p.Key.None() {
			p.Key.UnmarshalText([]byte("$remote_addr"))
		}
	}
	return p
}

func (cfg config) limits() forward.Limits {
	return forward.Limits{
		Connections: cfg.MaxConnections, Requests: cfg.MaxRequests, HeaderBytes: int(cfg.MaxHeaderBytes),
		Header: cfg.HeaderTimeout, Body: cfg.BodyTimeout, Send: cfg.SendTimeout, Idle: cfg.IdleTimeout,
		Tunnel: cfg.TunnelTimeout, Connect: cfg.ConnectTimeout, Response: cfg.ResponseTimeout, ServerIdle: cfg.ReplicaIdle,
	}
}

func (cfg config) forwarder() *http1.Forwarder {
	return &http1.Forwarder{Trusted: cfg.TrustedProxies, Scheme: "http"}
}

// cost is the splitter's, which has the same engine: an idle connection 21 KiB, a request 67 KiB and the body that is kept of it.
func (cfg config) cost() daemon.Cost {
	return daemon.Cost{Own: 16 << 20, Connection: 24 << 10, Request: 80<<10 + uint64(cfg.RetryBody), Pairs: cfg.Mode == "tcp"}
}
