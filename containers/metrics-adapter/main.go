// Metrics-adapter gives the numbers of a Redis or an nginx to Prometheus, under the names that the usual exporters use.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr     env.Addr      `env:"LISTEN_ADDR" default:":9121" help:"address to serve /metrics and /scrape on"`
	Source         string        `env:"SOURCE" default:"redis" oneof:"redis|nginx" help:"what kind of server the targets are"`
	Target         string        `env:"TARGET" default:"" help:"the server behind /metrics: host:port or a socket's path of a Redis, 127.0.0.1:6379 without it; the URL of nginx's stub_status, or unix:SOCKET:PATH, http://127.0.0.1:8080/stub_status without it"`
	AllowedTargets []string      `env:"ALLOWED_TARGETS" default:"" help:"servers that /scrape?target= may name besides TARGET, each written in the same way; any other is 403"`
	Timeout        time.Duration `env:"TIMEOUT" default:"5s" min:"10ms" help:"time that a server gets for all its answers, connecting included; a scrape that says its own timeout may get less"`
	TimeoutOffset  time.Duration `env:"TIMEOUT_OFFSET" default:"500ms" min:"0s" help:"how much sooner than the scrape's own timeout the answer is given, down to half of that timeout"`
	CacheTTL       time.Duration `env:"CACHE_TTL" default:"0s" min:"0s" help:"how long an answer is given again; 0 asks anew, and lets only the scrapes that wait at the same time share one"`
	WhenDown       string        `env:"WHEN_DOWN" default:"answer" oneof:"answer|exit" help:"what to do when a server does not answer; exit imitates exporters that end with their app: do not use it"`
	EmptyDatabases bool          `env:"EMPTY_DATABASES" default:"true" help:"show the databases of a Redis that have no keys, too, with zeros"`

	RedisUsername     string `env:"REDIS_USERNAME" default:"" secret:"true" help:"user of Redis's ACL; the default user without it"`
	RedisPassword     string `env:"REDIS_PASSWORD" default:"" secret:"true" help:"password of that user"`
	RedisPasswordPath string `env:"REDIS_PASSWORD_PATH" default:"" help:"file with the password, read again at each login, so that a new one needs no restart"`
	RedisTLS          bool   `env:"REDIS_TLS" default:"false" help:"speak TLS to Redis; to nginx the URL says it"`
	tlsFiles
	daemon.Config
}

// defaultTargets are where the server is when nothing is said: in the same pod.
var defaultTargets = map[string]string{"redis": "127.0.0.1:6379", "nginx": "http://127.0.0.1:8080/stub_status"}

func (cfg config) target() string {
	if cfg.Target == "" {
		return defaultTargets[cfg.Source]
	}
	return cfg.Target
}

// Check finds settings that contradict each other.
func (cfg config) Check() error {
	if cfg.RedisPassword != "" && cfg.RedisPasswordPath != "" {
		return errors.New("REDIS_PASSWORD and REDIS_PASSWORD_PATH: two passwords: give one of them")
	}
	if cfg.Source == "nginx" && cfg.RedisUsername+cfg.RedisPassword+cfg.RedisPasswordPath != "" {
		return errors.New("SOURCE=nginx: a login of Redis is given, and nginx gets none: leave it out")
	}
	if cfg.Source == "redis" && !cfg.RedisTLS && cfg.tlsFiles != (tlsFiles{}) {
		return errors.New("settings of TLS are given, and REDIS_TLS is false: the password would cross in the clear; set it, or none of them")
	}
	for _, name := range append([]string{cfg.target()}, cfg.AllowedTargets...) {
		var err error
		if cfg.Source == "redis" {
			err = checkRedisAddr(name)
		} else {
			_, err = parseStatusURL(name)
		}
		if err != nil {
			return fmt.Errorf("TARGET and ALLOWED_TARGETS: %w", err)
		}
	}
	return nil
}

// source is how a target is asked.
func (cfg config) source(name string) (Source, error) {
	if cfg.Source == "nginx" {
		at, err := parseStatusURL(name)
		if err != nil {
			return nil, err
		}
		tlsConfig, err := cfg.tlsFiles.config(at.host)
		if err != nil {
			return nil, err
		}
		return newNginx(at, tlsConfig), nil
	}
	r := &Redis{
		Addr: name, Username: cfg.RedisUsername, Password: cfg.RedisPassword, PasswordPath: cfg.RedisPasswordPath,
		EmptyDatabases: cfg.EmptyDatabases,
	}
	if cfg.RedisTLS {
		host, _, _ := net.SplitHostPort(name) // a socket has none
		var err error
		if r.TLS, err = cfg.tlsFiles.config(host); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	m := newMetrics(p.Metrics)
	down := make(chan error, 1)
	door := &Door{Metrics: m, Timeout: cfg.Timeout, Offset: cfg.TimeoutOffset, Targets: map[string]*Target{}}
	for _, name := range append([]string{cfg.target()}, cfg.AllowedTargets...) {
		source, err := cfg.source(name)
		if err != nil {
			return err
		}
		t := &Target{Name: name, Source: source, Timeout: cfg.Timeout, TTL: cfg.CacheTTL, Metrics: m, Log: p.Log}
		if cfg.WhenDown == "exit" {
			t.Down = func(err error) {
				select {
				case down <- err:
				default:
				}
			}
		}
		if door.Targets[name] == nil {
			door.Targets[name] = t
		}
		if door.Main == nil {
			door.Main = t
		}
	}
	p.Status(func() any { return door.Status() })
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Log.Info("listening", "address", ln.Addr().String(), "source", cfg.Source, "target", cfg.target())
	// Of the adapter, not of its target: one that tells of a server that is down does its work.
	p.Ready(true, "")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- p.Serve(ctx, ln, &http.Server{
			Handler: door.Handler(), ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 5 * time.Second,
			WriteTimeout: cfg.Timeout + 10*time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		})
	}()
	select {
	case err := <-served:
		return err
	case err := <-down:
		return err
	}
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "metrics-adapter",
		Summary: "Metrics-adapter gives the numbers of a Redis or an nginx to Prometheus, under the names that the usual exporters use.",
		Run:     run,
	}, os.Args[1:]))
}
