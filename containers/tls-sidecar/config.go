package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

// config is the settings. What 0 means stands in each help; in a limit it is
// always "none".
type config struct {
	ProxyPort  int      `env:"PROXY_PORT" default:"8080" min:"1" max:"65535" help:"port on localhost to forward to"`
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8443" help:"address to accept TLS on"`
	Mode       string   `env:"MODE" default:"http" oneof:"http|tcp" help:"what is inside TLS: http adds headers for the app, tcp passes bytes on"`

	CertPath      string        `env:"CERT_PATH" default:"" help:"certificate chain, PEM; the default for clients that name no host, or one that no certificate has"`
	KeyPath       string        `env:"KEY_PATH" default:"" help:"its key, PEM; without it the key is in CERT_PATH"`
	CertsDir      string        `env:"CERTS_DIR" default:"" help:"folder of more pairs, chosen by the name that the client asks for: NAME.crt or NAME.pem with NAME.key, NAME.pem with both in it, or NAME/tls.crt with NAME/tls.key"`
	StrictSNI     bool          `env:"STRICT_SNI" default:"false" help:"end the handshake with clients that name no host, or one that no certificate has"`
	OnChange      string        `env:"ON_CHANGE" default:"reload" oneof:"reload|exit|ignore" help:"when certificate, key or client CA change on disk: reload them, drain and exit 0 (for a supervisor to restart), or wait for SIGHUP"`
	WatchInterval time.Duration `env:"WATCH_INTERVAL" default:"1s" min:"50ms" help:"how often to look for changes, besides being told by the kernel"`

	SelfSigned      bool          `env:"SELF_SIGNED" default:"false" help:"where there is no certificate, make one for development: at CERT_PATH and KEY_PATH, or else in memory"`
	SelfSignedNames []string      `env:"SELF_SIGNED_NAMES" default:"localhost,127.0.0.1,::1" help:"names and addresses that it is for"`
	SelfSignedValid time.Duration `env:"SELF_SIGNED_VALID" default:"8760h" min:"1s" help:"how long it is valid"`

	TLSMinVersion string `env:"TLS_MIN_VERSION" default:"1.2" oneof:"1.2|1.3" help:"oldest version of TLS to speak"`
	HTTP2         bool   `env:"HTTP2" default:"true" help:"http mode: offer HTTP/2 beside HTTP/1.1"`

	ALPN []string `env:"ALPN" default:"" help:"tcp mode: protocols inside TLS to agree on with the client, best first, such as h2,http/1.1: those that the app speaks; without it none is agreed on"`

	ClientAuth   string   `env:"CLIENT_AUTH" default:"none" oneof:"none|optional|required" help:"whether clients show a certificate"`
	ClientCAPath string   `env:"CLIENT_CA_PATH" default:"" help:"CAs that client certificates must come from, PEM"`
	AllowAll     bool     `env:"ALLOW_ALL" default:"false" help:"let in every certificate of these CAs"`
	AllowCN      []string `env:"ALLOW_CN" default:"" help:"common names to let in; one match in any ALLOW list is enough"`
	AllowOU      []string `env:"ALLOW_OU" default:"" help:"organisational units to let in"`
	AllowDNS     []string `env:"ALLOW_DNS" default:"" help:"DNS names (SAN) to let in"`
	AllowURI     []string `env:"ALLOW_URI" default:"" help:"URIs (SAN) to let in; * stands for one path segment, a last /** for any rest"`

	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" default:"" help:"http mode: networks whose X-Forwarded-* and Forwarded are believed and added to; those of others are dropped"`
	Upgrades       []string       `env:"UPGRADES" default:"websocket" help:"http mode: protocols that a connection may be upgraded to"`
	FastPath       bool           `env:"FAST_PATH" default:"true" help:"pass on plain HTTP/1.1 exchanges, and in tcp mode everything, on event loops; false: on a goroutine for each connection, by Go's HTTP server"`
	ProxyProtocol  string         `env:"PROXY_PROTOCOL" default:"off" oneof:"off|v2" help:"tcp mode: tell the app the client's address in a PROXY protocol header"`

	MaxConnections   int           `env:"MAX_CONNECTIONS" default:"20000" min:"0" help:"connections at once; then idle ones make room, or new ones are closed; lowered at the start to what memory and file descriptors bear; 0: no limit"`
	MaxRequests      int           `env:"MAX_REQUESTS" default:"10000" min:"0" help:"http mode: requests and upgraded connections at once; more are answered 503; lowered as well; 0: no limit"`
	MaxStreams       int           `env:"MAX_STREAMS" default:"100" min:"1" help:"HTTP/2 requests at once on one connection"`
	MaxHeaderBytes   env.Bytes     `env:"MAX_HEADER_BYTES" default:"32KiB" min:"1KiB" max:"1MiB" help:"size of a request's head"`
	HandshakeTimeout time.Duration `env:"HANDSHAKE_TIMEOUT" default:"10s" help:"time to shake hands; 0: no limit, here and below"`
	HeaderTimeout    time.Duration `env:"HEADER_TIMEOUT" default:"10s" help:"time to send a request's head"`
	BodyTimeout      time.Duration `env:"BODY_TIMEOUT" default:"60s" help:"time between two parts of a request's body"`
	SendTimeout      time.Duration `env:"SEND_TIMEOUT" default:"60s" help:"time for a client to take the next part of an answer"`
	IdleTimeout      time.Duration `env:"IDLE_TIMEOUT" default:"120s" help:"time between two requests on a connection"`
	TunnelTimeout    time.Duration `env:"TUNNEL_TIMEOUT" default:"0s" help:"time without a byte in tcp mode and on upgraded connections"`
	CloseTimeout     time.Duration `env:"CLOSE_TIMEOUT" default:"60s" help:"tcp mode: time without a byte once one side has ended"`
	ConnectTimeout   time.Duration `env:"CONNECT_TIMEOUT" default:"5s" help:"time to connect to the app"`
	ResponseTimeout  time.Duration `env:"RESPONSE_TIMEOUT" default:"60s" help:"http mode: time for the app to begin its answer"`
	AppIdleTimeout   time.Duration `env:"APP_IDLE_TIMEOUT" default:"4s" help:"http mode: time to keep an idle connection to the app; shorter than the app's own"`
	AppCheckInterval time.Duration `env:"APP_CHECK_INTERVAL" default:"500ms" help:"how often to check that the app's port accepts; 0: never, the app counts as up"`

	daemon.Config
}

// Check finds settings that contradict each other, all of them.
func (cfg config) Check() error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if cfg.CertPath == "" && cfg.CertsDir == "" && !cfg.SelfSigned {
		add("CERT_PATH: no certificate: set CERT_PATH and KEY_PATH, or CERTS_DIR, or SELF_SIGNED=true for one that is good for development")
	}
	if cfg.KeyPath != "" && cfg.CertPath == "" {
		add("KEY_PATH: a key without a certificate: set CERT_PATH too")
	}
	if cfg.SelfSigned && len(cfg.SelfSignedNames) == 0 {
		add("SELF_SIGNED_NAMES: no name to make a certificate for")
	}
	access := cfg.access()
	switch {
	case cfg.ClientAuth == "none" && cfg.ClientCAPath != "":
		add("CLIENT_CA_PATH: means nothing with CLIENT_AUTH=none")
	case cfg.ClientAuth == "none" && !access.Empty():
		add("CLIENT_AUTH=none: ALLOW_ALL, ALLOW_CN, ALLOW_OU, ALLOW_DNS and ALLOW_URI would let everybody in")
	case cfg.ClientAuth != "none" && cfg.ClientCAPath == "":
		add("CLIENT_CA_PATH: required by CLIENT_AUTH=%s", cfg.ClientAuth)
	}
	if cfg.ClientAuth == "required" && access.Empty() {
		add("CLIENT_AUTH=required: say who is let in: ALLOW_CN, ALLOW_OU, ALLOW_DNS or ALLOW_URI, or ALLOW_ALL=true for every certificate of the CA")
	}
	if err := access.Check(); err != nil {
		bad = append(bad, err)
	}
	if cfg.Mode == "http" && cfg.ProxyProtocol != "off" {
		add("PROXY_PROTOCOL=%s: only with MODE=tcp: in http mode the app is told by headers", cfg.ProxyProtocol)
	}
	if cfg.Mode == "tcp" && len(cfg.TrustedProxies) > 0 {
		add("TRUSTED_PROXIES: means nothing with MODE=tcp")
	}
	if cfg.Mode == "http" && len(cfg.ALPN) > 0 {
		add("ALPN: only with MODE=tcp: in http mode HTTP/1.1 and, with HTTP2=true, HTTP/2 are offered")
	}
	for _, name := range cfg.ALPN {
		if len(name) > 255 { // RFC 7301, 3.1; an empty one is no item of a list
			add("ALPN: %.20s…: longer than the 255 bytes that a protocol's name may have", name)
		}
	}
	return errors.Join(bad...)
}

func (cfg config) access() Access {
	return Access{All: cfg.AllowAll, CN: cfg.AllowCN, OU: cfg.AllowOU, DNS: cfg.AllowDNS, URI: cfg.AllowURI}
}

// certificates makes the development certificate where it is wanted, and loads
// all.
func (cfg config) certificates(log *slog.Logger, metrics *Metrics) (*Certificates, error) {
	c := &Certificates{
		Dir:       cfg.CertsDir,
		Access:    cfg.access(),
		StrictSNI: cfg.StrictSNI,
		Log:       log,
		Metrics:   metrics,
	}
	if cfg.CertPath != "" {
		c.Files = []PairFiles{{cfg.CertPath, cfg.KeyPath}}
	}
	if cfg.SelfSigned {
		if err := cfg.selfSign(c, log); err != nil {
			return nil, fmt.Errorf("self-signed certificate: %w", err)
		}
	}
	if cfg.TLSMinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	switch {
	case cfg.Mode == "tcp":
		c.NextProtos = cfg.ALPN
	case cfg.HTTP2:
		c.NextProtos = []string{"h2", "http/1.1"}
	default:
		c.NextProtos = []string{"http/1.1"}
	}
	switch cfg.ClientAuth {
	case "required":
		c.ClientAuth, c.ClientCA = tls.RequireAndVerifyClientCert, cfg.ClientCAPath
	case "optional":
		c.ClientAuth, c.ClientCA = tls.VerifyClientCertIfGiven, cfg.ClientCAPath
		c.Access.All = c.Access.Empty() || c.Access.All
	}
	return c, c.Load()
}

// selfSign never touches a file that is there: half a pair is a mistake that
// Load reports.
func (cfg config) selfSign(c *Certificates, log *slog.Logger) error {
	switch {
	case cfg.CertPath != "" && (exists(cfg.CertPath) || cfg.KeyPath != "" && exists(cfg.KeyPath)):
		return nil
	case cfg.CertPath == "" && cfg.CertsDir != "":
		if list, err := findPairs(cfg.CertsDir); err != nil || len(list) > 0 {
			return err
		}
	}
	cert, key, err := selfSigned(cfg.SelfSignedNames, cfg.SelfSignedValid)
	if err != nil {
		return err
	}
	if cfg.CertPath != "" {
		log.Warn("self-signed certificate made", "path", cfg.CertPath, "names", cfg.SelfSignedNames)
		return writePair(c.Files[0], cert, key)
	}
	log.Warn("self-signed certificate made", "path", "memory", "names", cfg.SelfSignedNames)
	c.Memory, err = newPair(cert, key)
	return err
}

func (cfg config) proxy(certificates *Certificates, log *slog.Logger, metrics *Metrics) *Proxy {
	return &Proxy{
		Forward:        fmt.Sprintf("localhost:%d", cfg.ProxyPort),
		Certificates:   certificates,
		TCP:            cfg.Mode == "tcp",
		SendProxy:      cfg.ProxyProtocol == "v2",
		TrustedProxies: cfg.TrustedProxies,
		Careful:        !cfg.FastPath,
		HalfClose:      cfg.CloseTimeout,
		Upgrades:       append([]string{}, cfg.Upgrades...),
		Limits: Limits{
			Connections: cfg.MaxConnections,
			Requests:    cfg.MaxRequests,
			HeaderBytes: int(cfg.MaxHeaderBytes),
			Streams:     cfg.MaxStreams,
			Handshake:   cfg.HandshakeTimeout,
			Header:      cfg.HeaderTimeout,
			Body:        cfg.BodyTimeout,
			Send:        cfg.SendTimeout,
			Idle:        cfg.IdleTimeout,
			Tunnel:      cfg.TunnelTimeout,
			Connect:     cfg.ConnectTimeout,
			Response:    cfg.ResponseTimeout,
			ServerIdle:  cfg.AppIdleTimeout,
		},
		Log:     log,
		Metrics: metrics,
	}
}

func (cfg config) status(listen net.Addr, p *Proxy, app *AppCheck) status {
	s := status{
		State:       "ok",
		Mode:        cfg.Mode,
		Listen:      listen.String(),
		Forward:     p.Forward,
		Backend:     app.status(),
		Connections: p.connectionStatus(),
	}
	if p.door.Retired() {
		s.State = "stopping"
	}
	s.Certificates, s.ClientAuth, s.LastReload, s.LastGood = p.Certificates.status()
	s.ClientAuth.Mode = cfg.ClientAuth
	return s
}
