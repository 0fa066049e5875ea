package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/http1"
)

// config is the settings. What 0 means stands in each help; in a limit it is
// always "none".
type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to serve HTTP on"`

	Arms          []ArmSpec     `env:"ARMS" default:"" help:"the arms: production=http://web:8080 weight=9, experiment=http://exp:8080 weight=1; after the address also max_fails=1 fail_timeout=10s max_conns=0 as in nginx, down (nobody), drain (only those whom a cookie has put there)"`
	ArmsPath      string        `env:"ARMS_PATH" default:"" help:"file with the same, a line for each arm, # begins a comment; in place of ARMS; read again when it changes and at SIGHUP"`
	WatchInterval time.Duration `env:"WATCH_INTERVAL" default:"1s" min:"10ms" help:"how often to look for changes of ARMS_PATH, besides being told by the kernel"`

	Balance string `env:"BALANCE" default:"smooth" oneof:"smooth|ip_hash|hash|consistent|split_clients" help:"how an arm is chosen, all as in nginx: by smooth weighted round robin, or by a hash: ip_hash, hash, hash … consistent, split_clients"`
	HashKey Key    `env:"HASH_KEY" default:"" help:"what hash, consistent and split_clients hash; none: $remote_addr; else text and $remote_addr, $uri, $request_uri, $args, $host, $request_method, $arg_NAME, $cookie_NAME, $http_NAME, ${…}"`

	Sticky       string        `env:"STICKY" default:"none" oneof:"none|cookie|header|address" help:"what keeps a client on one arm: a cookie that says which, or a hash of a header or of its address"`
	StickyCookie string        `env:"STICKY_COOKIE" default:"split" help:"name of the cookie"`
	StickyMaxAge time.Duration `env:"STICKY_MAX_AGE" default:"720h" help:"how long the cookie lasts; 0: until the browser ends"`
	StickySecure bool          `env:"STICKY_SECURE" default:"false" help:"the cookie is for HTTPS only"`
	StickySite   string        `env:"STICKY_SAME_SITE" default:"lax" oneof:"lax|strict|none" help:"whether the cookie goes along when another site links to the app (lax), never (strict), or always (none), as in a frame of another site; none needs STICKY_SECURE"`
	StickySecret string        `env:"STICKY_SECRET" default:"" secret:"true" help:"signs the cookie, so that clients cannot choose their arm"`
	StickyHeader string        `env:"STICKY_HEADER" default:"X-User-Id" help:"name of the header"`
	StickySalt   string        `env:"STICKY_SALT" default:"" help:"goes before the header or address that is hashed: another salt, another experiment"`

	OverrideHeader   string         `env:"OVERRIDE_HEADER" default:"" help:"header in which testers name an arm; it is not passed on"`
	OverrideCookie   string         `env:"OVERRIDE_COOKIE" default:"" help:"cookie in which they do"`
	OverrideQuery    string         `env:"OVERRIDE_QUERY" default:"" help:"argument of the query in which they do"`
	OverrideToken    string         `env:"OVERRIDE_TOKEN" default:"" secret:"true" help:"must follow the arm's name: experiment:TOKEN"`
	OverrideNetworks []netip.Prefix `env:"OVERRIDE_NETWORKS" default:"" help:"clients that may; none: all"`

	Fallback       bool      `env:"FALLBACK" default:"true" help:"leave an arm that fails: others get its requests, and those that can safely be sent once more are; without it each arm keeps its share, errors and all"`
	FallbackOn     []string  `env:"FALLBACK_ON" default:"error,timeout,http_502,http_503,http_504" help:"what is a failure, in the words of nginx's proxy_next_upstream: error, timeout, http_NNN; non_idempotent: send every method once more"`
	RetryBudget    float64   `env:"RETRY_BUDGET" default:"0.2" min:"0" max:"1" help:"share of the requests that may be sent once more"`
	RetryBudgetMin float64   `env:"RETRY_BUDGET_MIN" default:"10" min:"0" help:"how many in a second may be, besides"`
	RetryBody      env.Bytes `env:"RETRY_BODY" default:"64KiB" max:"16MiB" help:"how much of a body is kept to be sent once more; a request with a longer one is not"`

	HealthInterval time.Duration `env:"HEALTH_INTERVAL" default:"1s" help:"how often to check the arms; 0: never"`
	HealthTimeout  time.Duration `env:"HEALTH_TIMEOUT" default:"1s" min:"1ms" help:"time for a check"`
	HealthPath     string        `env:"HEALTH_PATH" default:"" help:"what to GET, 2xx and 3xx are well; none: an arm that accepts connections is"`
	HealthRise     int           `env:"HEALTH_RISE" default:"2" min:"1" help:"good checks in a row that let an arm in"`
	HealthFall     int           `env:"HEALTH_FALL" default:"2" min:"1" help:"bad checks in a row that take it out"`

	Mirror            string        `env:"MIRROR" default:"" help:"server that gets copies of requests, and whose answers nobody sees: http://host:8080"`
	MirrorPercent     float64       `env:"MIRROR_PERCENT" default:"100" min:"0" max:"100" help:"part of the requests that are copied"`
	MirrorMethods     []string      `env:"MIRROR_METHODS" default:"GET,HEAD,OPTIONS" help:"methods that are copied; *: all, side effects and all"`
	MirrorConcurrency int           `env:"MIRROR_CONCURRENCY" default:"64" min:"1" max:"10000" help:"copies at once; more are dropped"`
	MirrorBodyLimit   env.Bytes     `env:"MIRROR_BODY_LIMIT" default:"64KiB" max:"16MiB" help:"longest body that is copied; requests with a longer one are not"`
	MirrorTimeout     time.Duration `env:"MIRROR_TIMEOUT" default:"10s" help:"time for a copy, answer and all"`
	MirrorMode        string        `env:"MIRROR_MODE" default:"async" oneof:"async|blocking" help:"async: the copy costs the client nothing; blocking: its answer waits for the mirror's, to show what that does"`

	Compare          string    `env:"COMPARE" default:"" help:"arm whose answers are compared with the mirror's; none: nothing is compared"`
	CompareNoise     string    `env:"COMPARE_NOISE" default:"" help:"second copy of that arm, http://host:8080: what differs between the two is noise, and does not count; it gets what the mirror gets"`
	CompareIgnore    []string  `env:"COMPARE_IGNORE" default:"" help:"fields not to compare, such as type or body.meta.time"`
	CompareBodyLimit env.Bytes `env:"COMPARE_BODY_LIMIT" default:"64KiB" min:"1KiB" max:"16MiB" help:"longest answer that is compared"`

	ArmHeader    string `env:"ARM_HEADER" default:"" help:"header of answers that names the arm, such as X-Split-Arm; none: not said"`
	ReasonHeader string `env:"REASON_HEADER" default:"" help:"header of answers that says why that arm, such as X-Split-Reason"`
	RequestLog   bool   `env:"REQUEST_LOG" default:"false" help:"write a line of JSON for each request to standard output: who, where to, why, and how it ended"`
	AdminToken   string `env:"ADMIN_TOKEN" default:"" secret:"true" help:"bearer token for what changes something on the admin port; none: nothing can be changed there"`

	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" default:"" help:"networks whose X-Forwarded-* and Forwarded are believed and added to; those of others are dropped"`
	Upgrades       []string       `env:"UPGRADES" default:"websocket" help:"protocols that a connection may be upgraded to"`
	H2C            bool           `env:"H2C" default:"false" help:"speak HTTP/2 cleartext to clients beside HTTP/1.1; to an arm, write h2c:// in its address"`

	FastPath bool `env:"FAST_PATH" default:"true" help:"forward plain HTTP/1.1 exchanges on event loops; false leaves all of them to Go's HTTP server, as do MIRROR and REQUEST_LOG"`

	MaxConnections  int           `env:"MAX_CONNECTIONS" default:"20000" min:"0" help:"connections at once; then idle ones make room, or new ones are closed; lowered at the start to what memory and file descriptors bear; 0: no limit"`
	MaxRequests     int           `env:"MAX_REQUESTS" default:"10000" min:"0" help:"requests and upgraded connections at once; more are answered 503; lowered as well; 0: no limit"`
	MaxStreams      int           `env:"MAX_STREAMS" default:"100" min:"1" help:"HTTP/2 requests at once on one connection"`
	MaxHeaderBytes  env.Bytes     `env:"MAX_HEADER_BYTES" default:"32KiB" min:"1KiB" max:"1MiB" help:"size of a request's head"`
	HeaderTimeout   time.Duration `env:"HEADER_TIMEOUT" default:"10s" help:"time to send a request's head; 0: no limit, here and below"`
	BodyTimeout     time.Duration `env:"BODY_TIMEOUT" default:"60s" help:"time between two parts of a request's body"`
	SendTimeout     time.Duration `env:"SEND_TIMEOUT" default:"60s" help:"time for a client to take the next part of an answer"`
	IdleTimeout     time.Duration `env:"IDLE_TIMEOUT" default:"120s" help:"time between two requests on a connection"`
	TunnelTimeout   time.Duration `env:"TUNNEL_TIMEOUT" default:"0s" help:"time without a byte on upgraded connections"`
	ConnectTimeout  time.Duration `env:"CONNECT_TIMEOUT" default:"1s" help:"time to connect to an arm"`
	ResponseTimeout time.Duration `env:"RESPONSE_TIMEOUT" default:"60s" help:"time for an arm to begin its answer"`
	ArmIdleTimeout  time.Duration `env:"ARM_IDLE_TIMEOUT" default:"4s" help:"time to keep an idle connection to an arm; shorter than the arm's own"`

	daemon.Config
}

// Check finds settings that contradict each other, all of them.
func (cfg config) Check() error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	switch {
	case cfg.ArmsPath == "" && len(cfg.Arms) == 0:
		add("ARMS: no arm: set ARMS, or ARMS_PATH")
	case cfg.ArmsPath != "" && len(cfg.Arms) > 0:
		add("ARMS_PATH: in place of ARMS: set one of them")
	case cfg.ArmsPath == "":
		if err := checkArms(cfg.Arms); err != nil {
			add("ARMS: %w", err)
		}
	}
	if _, err := cfg.retry(); err != nil {
		add("FALLBACK_ON: %w", err)
	}
	if cfg.Sticky == "cookie" && !isToken(cfg.StickyCookie) {
		add("STICKY_COOKIE=%q: not the name of a cookie", cfg.StickyCookie)
	}
	if cfg.StickySite == "none" && !cfg.StickySecure {
		add("STICKY_SAME_SITE=none: set STICKY_SECURE=true: browsers drop such a cookie without it")
	}
	for _, h := range [][2]string{
		{"STICKY_HEADER", cfg.StickyHeader},
		{"OVERRIDE_HEADER", cfg.OverrideHeader},
		{"OVERRIDE_COOKIE", cfg.OverrideCookie},
		{"ARM_HEADER", cfg.ArmHeader},
		{"REASON_HEADER", cfg.ReasonHeader},
	} {
		if h[1] != "" && !isToken(h[1]) {
			add("%s=%q: not a name", h[0], h[1])
		}
	}
	if cfg.OverrideToken != "" && cfg.OverrideHeader+cfg.OverrideCookie+cfg.OverrideQuery == "" {
		add("OVERRIDE_TOKEN: means nothing without OVERRIDE_HEADER, OVERRIDE_COOKIE or OVERRIDE_QUERY")
	}
	if cfg.Mirror != "" {
		if _, err := parseTarget(cfg.Mirror); err != nil {
			add("MIRROR: %w", err)
		}
	}
	switch {
	case cfg.Compare == "" && cfg.CompareNoise != "":
		add("COMPARE_NOISE: means nothing without COMPARE")
	case cfg.Compare != "" && cfg.Mirror == "":
		add("COMPARE: means nothing without MIRROR")
	case cfg.Compare != "" && cfg.ArmsPath == "" && !slices.ContainsFunc(cfg.Arms, func(a ArmSpec) bool { return a.Name == cfg.Compare }):
		add("COMPARE=%q: no such arm", cfg.Compare)
	}
	if cfg.CompareNoise != "" {
		if _, err := parseTarget(cfg.CompareNoise); err != nil {
			add("COMPARE_NOISE: %w", err)
		}
	}
	if p := cfg.HealthPath; p != "" {
		if u, err := url.ParseRequestURI(p); err != nil || p[0] != '/' || u.Host != "" {
			add("HEALTH_PATH=%q: not a path like /healthz", p)
		}
	}
	return errors.Join(bad...)
}

// isToken is for names of headers and cookies.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func (cfg config) rules() Rules {
	canonical := textproto.CanonicalMIMEHeaderKey
	key := cfg.HashKey
	if key.String() == "" {
		key.UnmarshalText([]byte("$remote_addr"))
	}
	return Rules{
		Balance: cfg.Balance, Key: key, Fallback: cfg.Fallback,
		Sticky: Sticky{
			Kind: cfg.Sticky, Cookie: cfg.StickyCookie, MaxAge: cfg.StickyMaxAge, Secure: cfg.StickySecure, SameSite: cfg.StickySite,
			Secret: cfg.StickySecret, Header: canonical(cfg.StickyHeader), Salt: cfg.StickySalt,
		},
		Override: Override{
			Header: canonical(cfg.OverrideHeader), Cookie: cfg.OverrideCookie, Query: cfg.OverrideQuery,
			Token: cfg.OverrideToken, Networks: cfg.OverrideNetworks,
		},
	}
}

func (cfg config) retry() (Retry, error) {
	r := Retry{Status: map[int]bool{}, Body: int(cfg.RetryBody)}
	for _, word := range cfg.FallbackOn {
		switch word {
		case "error":
			r.Error = true
		case "timeout":
			r.Timeout = true
		case "non_idempotent":
			r.NonIdempotent = true
		default:
			code, err := strconv.Atoi(strings.TrimPrefix(word, "http_"))
			if err != nil || !strings.HasPrefix(word, "http_") || code < 400 || code > 599 {
				return r, fmt.Errorf("%q is none of error, timeout, non_idempotent, http_400 to http_599", word)
			}
			r.Status[code] = true
		}
	}
	return r, nil
}

func (cfg config) limits() Limits {
	return Limits{
		Connections: cfg.MaxConnections,
		Requests:    cfg.MaxRequests,
		HeaderBytes: int(cfg.MaxHeaderBytes),
		Streams:     cfg.MaxStreams,
		Header:      cfg.HeaderTimeout,
		Body:        cfg.BodyTimeout,
		Send:        cfg.SendTimeout,
		Idle:        cfg.IdleTimeout,
		Tunnel:      cfg.TunnelTimeout,
		Connect:     cfg.ConnectTimeout,
		Response:    cfg.ResponseTimeout,
		ServerIdle:  cfg.ArmIdleTimeout,
	}
}

// mirror is nil if there is none.
func (cfg config) mirror(p *Proxy) *Mirror {
	if cfg.Mirror == "" {
		return nil
	}
	u, _ := parseTarget(cfg.Mirror)
	m := &Mirror{
		Addr: dialAddr(u), H2C: u.Scheme == "h2c",
		Percent: cfg.MirrorPercent, Concurrency: cfg.MirrorConcurrency, BodyLimit: int(cfg.MirrorBodyLimit),
		Timeout: cfg.MirrorTimeout, Blocking: cfg.MirrorMode == "blocking",
		Metrics: p.Metrics,
	}
	m.Transport = p.Limits.NewTransport(m.H2C)
	m.Compare = cfg.compare(p)
	for _, method := range cfg.MirrorMethods {
		if method == "*" {
			m.Methods = nil
			break
		}
		if m.Methods == nil {
			m.Methods = map[string]bool{}
		}
		m.Methods[method] = true
	}
	return m
}

// compare is nil if there is nothing to compare with.
func (cfg config) compare(p *Proxy) *Compare {
	if cfg.Compare == "" {
		return nil
	}
	c := &Compare{Arm: cfg.Compare, BodyLimit: int(cfg.CompareBodyLimit), Ignore: map[string]bool{}, Metrics: p.Metrics}
	for _, name := range cfg.CompareIgnore {
		c.Ignore[name] = true
	}
	if cfg.CompareNoise != "" {
		u, _ := parseTarget(cfg.CompareNoise)
		c.Noise, c.Transport = dialAddr(u), p.Limits.NewTransport(u.Scheme == "h2c")
	}
	return c
}

func (cfg config) forwarder() *http1.Forwarder {
	return &http1.Forwarder{Trusted: cfg.TrustedProxies, Scheme: "http"}
}
