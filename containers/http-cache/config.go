package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/forward"
	"distlab/containers/internal/http1"
)

// config is the settings.
type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to serve on"`
	Origins    []Origin `env:"ORIGINS" help:"who is asked for what is not stored: http://app:8080, and for single hosts shop.example=http://shop:8080"`
	Name       string   `env:"CACHE_NAME" default:"http-cache" help:"what Via and Cache-Status call this cache"`

	Size      env.Bytes `env:"CACHE_SIZE" default:"32MiB" min:"64KiB" help:"bytes for what is stored; lowered at the start to half of the memory that there is"`
	MaxObject env.Bytes `env:"MAX_OBJECT" default:"4MiB" min:"1KiB" help:"the largest body that is stored; at most a quarter of CACHE_SIZE"`
	Variants  int       `env:"MAX_VARIANTS" default:"32" min:"0" help:"answers of one URL that are stored beside each other, by Vary; the newest stay; 0: no limit"`

	DefaultTTL  time.Duration `env:"DEFAULT_TTL" default:"0s" help:"freshness of an answer that says nothing of it; 0: HEURISTIC_PERCENT"`
	Heuristic   float64       `env:"HEURISTIC_PERCENT" default:"10" min:"0" max:"100" help:"else this part of its age since Last-Modified; 0: it is not stored"`
	HeurMax     time.Duration `env:"HEURISTIC_MAX" default:"1h" help:"at most"`
	StaleWhile  time.Duration `env:"STALE_WHILE_REVALIDATE" default:"0s" help:"for how long an answer that says nothing of it is used while it is revalidated"`
	StaleError  time.Duration `env:"STALE_IF_ERROR" default:"0s" help:"for how long an answer that says nothing of it is used when the origin fails"`
	Ignore      []string      `env:"IGNORE_HEADERS" default:"" help:"headers that are not heeded, with all that they protect: Cache-Control (Expires too), Set-Cookie (Cookie too), Authorization, Vary"`
	Heed        bool          `env:"HEED_CLIENTS" default:"false" help:"heed no-cache, max-age, min-fresh and max-stale of requests; only-if-cached and no-store always are"`
	Unkeyed     []string      `env:"UNKEYED_HEADERS" default:"X-Host,X-Original-Host,X-Original-Url,X-Rewrite-Url,X-Http-Host-Override,X-Http-Method-Override,X-Http-Method,X-Method-Override,X-Backend-Host,X-Original-Uri" help:"headers that would change an answer and that it is not stored by: dropped from what may be stored"`
	Collapse    bool          `env:"COLLAPSE" default:"true" help:"requests for the same wait for one answer from the origin"`
	CollapseFor time.Duration `env:"COLLAPSE_TIMEOUT" default:"5s" min:"1ms" help:"for how long; then each asks for itself"`
	Apart       time.Duration `env:"COLLAPSE_PAUSE" default:"10s" min:"1ms" help:"for how long nobody waits for the same any more, when an answer was for one alone"`

	PurgeToken string `env:"PURGE_TOKEN" default:"" secret:"true" help:"lets who has it PURGE, as Authorization: Bearer; none: nobody may"`

	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" default:"" help:"networks whose X-Forwarded-* and Forwarded are believed and added to; those of others are dropped"`
	Upgrades       []string       `env:"UPGRADES" default:"websocket" help:"protocols that a connection may be upgraded to"`
	H2C            bool           `env:"H2C" default:"false" help:"speak HTTP/2 cleartext to clients beside HTTP/1.1"`

	MaxConnections  int           `env:"MAX_CONNECTIONS" default:"20000" min:"0" help:"connections at once; then idle ones make room, or new ones are closed; lowered at the start to what memory and file descriptors bear; 0: no limit"`
	MaxRequests     int           `env:"MAX_REQUESTS" default:"10000" min:"0" help:"requests and upgraded connections at once; more are answered 503; lowered as well; 0: no limit"`
	MaxHeaderBytes  env.Bytes     `env:"MAX_HEADER_BYTES" default:"32KiB" min:"1KiB" max:"1MiB" help:"size of a request's head"`
	HeaderTimeout   time.Duration `env:"HEADER_TIMEOUT" default:"10s" help:"time to send a request's head; 0: no limit, here and below"`
	BodyTimeout     time.Duration `env:"BODY_TIMEOUT" default:"60s" help:"time between two parts of a request's body"`
	SendTimeout     time.Duration `env:"SEND_TIMEOUT" default:"60s" help:"time for a client to take the next part of an answer"`
	IdleTimeout     time.Duration `env:"IDLE_TIMEOUT" default:"120s" help:"time between two requests on a connection"`
	TunnelTimeout   time.Duration `env:"TUNNEL_TIMEOUT" default:"0s" help:"time without a byte on upgraded connections"`
	ConnectTimeout  time.Duration `env:"CONNECT_TIMEOUT" default:"1s" help:"time to connect to an origin"`
	ResponseTimeout time.Duration `env:"RESPONSE_TIMEOUT" default:"60s" min:"1ms" help:"time for an origin to begin its answer, and between two parts of one that is stored"`
	OriginIdle      time.Duration `env:"ORIGIN_IDLE_TIMEOUT" default:"4s" help:"time to keep an idle connection to an origin; shorter than the origin's own"`

	daemon.Config
}

// ignorable are the headers that IGNORE_HEADERS may name.
var ignorable = []string{"Authorization", "Cache-Control", "Set-Cookie", "Vary"}

// Check finds settings that contradict each other, all of them.
func (cfg config) Check() error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if _, err := NewOrigins(cfg.Origins); err != nil {
		add("ORIGINS: %w", err)
	}
	for _, name := range cfg.Ignore {
		if !slices.Contains(ignorable, textproto.CanonicalMIMEHeaderKey(name)) {
			add("IGNORE_HEADERS: %q is none of %s", name, strings.Join(ignorable, ", "))
		}
	}
	if cfg.Name == "" || word(cfg.Name) == "" {
		add("CACHE_NAME=%q: not a token", cfg.Name)
	}
	return errors.Join(bad...)
}

func (cfg config) ignores(name string) bool {
	return slices.ContainsFunc(cfg.Ignore, func(s string) bool { return strings.EqualFold(s, name) })
}

func (cfg config) rules() Rules {
	return Rules{
		Default: cfg.DefaultTTL, Heuristic: cfg.Heuristic / 100, HeurMax: cfg.HeurMax, StaleErr: cfg.StaleError, StaleWhil: cfg.StaleWhile,
		IgnoreControl: cfg.ignores("Cache-Control"), IgnoreCookies: cfg.ignores("Set-Cookie"),
		IgnoreAuth: cfg.ignores("Authorization"), IgnoreVary: cfg.ignores("Vary"),
	}
}

func (cfg config) limits() forward.Limits {
	return forward.Limits{
		Connections: cfg.MaxConnections, Requests: cfg.MaxRequests, HeaderBytes: int(cfg.MaxHeaderBytes),
		Header: cfg.HeaderTimeout, Body: cfg.BodyTimeout, Send: cfg.SendTimeout, Idle: cfg.IdleTimeout,
		Tunnel: cfg.TunnelTimeout, Connect: cfg.ConnectTimeout, Response: cfg.ResponseTimeout, ServerIdle: cfg.OriginIdle,
	}
}

// cache is the cache that the settings say, but for what the process has.
func (cfg config) cache() *Cache {
	origins, _ := NewOrigins(cfg.Origins) // Check has seen it
	c := &Cache{
		Name: cfg.Name, Origins: origins, Rules: cfg.rules(),
		Store:     &Store{Size: int64(cfg.Size), Variants: cfg.Variants, Now: time.Now},
		Forwarder: &http1.Forwarder{Trusted: cfg.TrustedProxies, Scheme: "http"},
		Limits:    cfg.limits(),
		MaxObject: int64(min(cfg.MaxObject, cfg.Size/4)), MaxHeld: int64(cfg.Size / 2), Stall: cfg.ResponseTimeout,
		Patience: cfg.CollapseFor, Apart: cfg.Apart, NoCollapse: !cfg.Collapse, Heed: cfg.Heed,
		Token: cfg.PurgeToken, Upgrades: cfg.Upgrades, H2C: cfg.H2C,
	}
	for _, h := range cfg.Unkeyed {
		c.Unkeyed = append(c.Unkeyed, textproto.CanonicalMIMEHeaderKey(h))
	}
	return c
}

// fit lowers the size of the cache to half of the memory that there is. 0 is unknown, or no bound.
func (cfg config) fit(memory uint64) config {
	if memory > 0 {
		cfg.Size = min(cfg.Size, env.Bytes(max(64<<10, memory/2)))
	}
	return cfg
}

// cost is the splitter's, which has the same engine: an idle connection 21 KiB, a request 67 KiB; and what is stored.
func (cfg config) cost() daemon.Cost {
	return daemon.Cost{Own: 16<<20 + uint64(cfg.Size)*5/4, Connection: 24 << 10, Request: 80 << 10}
}
