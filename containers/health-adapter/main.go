// Health-adapter tells the health of a MySQL or MariaDB server over HTTP, from queries.
package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":9200" help:"address to serve /livez and /readyz on"`
	AgentAddr  env.Addr `env:"AGENT_ADDR" default:":9201" help:"address to answer HAProxy's agent-check on"`

	ServerAddr string `env:"MYSQL_ADDR" default:"127.0.0.1:3306" help:"the server's host:port, or the path of its socket"`
	User       string `env:"MYSQL_USER" default:"health" help:"user to log in as"`
	Password   string `env:"MYSQL_PASSWORD" default:"" secret:"true" help:"the user's password"`
	Database   string `env:"MYSQL_DATABASE" default:"" help:"database to use"`

	Check      string        `env:"CHECK" default:"query" oneof:"query|tcp" help:"what healthy means: the query was answered, or merely that the port is open"`
	LiveQuery  string        `env:"LIVE_QUERY" default:"SELECT 1" help:"query behind /livez"`
	ReadyQuery string        `env:"READY_QUERY" default:"SELECT 1" help:"query behind /readyz and the agent-check; one that writes needs a server that can"`
	Timeout    time.Duration `env:"TIMEOUT" default:"800ms" help:"time for a check, connecting included; 0 waits for as long as the server takes"`
	CacheTTL   time.Duration `env:"CACHE_TTL" default:"1s" help:"how long a check's result is given to all who ask; 0 asks the server anew"`
	Rise       int           `env:"RISE" default:"2" min:"1" help:"checks in a row that must succeed before down turns to up"`
	Fall       int           `env:"FALL" default:"3" min:"1" help:"checks in a row that must fail before up turns to down"`
	ConnMaxAge time.Duration `env:"CONN_MAX_AGE" default:"30s" help:"after this a check logs in anew, so that logging in is checked too; 0 logs in for each"`

	RequireWritable bool          `env:"REQUIRE_WRITABLE" default:"false" help:"a server that is read-only is not ready"`
	MaxLag          time.Duration `env:"MAX_LAG" default:"0s" help:"a replica that is further behind, or has stopped, is not ready; 0 does not look"`

	MaintenanceFile string `env:"MAINTENANCE_FILE" default:"" help:"while this file exists the server is in maintenance: not ready, and never not alive"`
	AgentWeight     int    `env:"AGENT_WEIGHT" default:"100" min:"0" max:"256" help:"percent of its weight that HAProxy shall give the server when up, less with lag; 0 says none"`
	tlsFiles
	daemon.Config
}

// server is the server that the settings speak of.
func (c config) server() (*Server, error) {
	tlsConfig, err := c.tlsFiles.config(c.ServerAddr)
	if err != nil {
		return nil, err
	}
	return &Server{
		Addr: c.ServerAddr, User: c.User, Password: c.Password, Database: c.Database,
		TLS: tlsConfig, Plaintext: c.Mode == "preferred",
		MaxAge: c.ConnMaxAge, Limit: c.Timeout,
	}, nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	switches := make(chan os.Signal, 1)
	signal.Notify(switches, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(switches)
	srv, err := cfg.server()
	if err != nil {
		return err
	}
	m := newMetrics(p.Metrics)
	maint := &Maintenance{File: cfg.MaintenanceFile}
	checks := &Checks{Maintenance: maint}
	checks.Live = newHealth("live", cfg, srv.clone(m), Question{Query: cfg.LiveQuery}, m, p)
	checks.Ready = newHealth("ready", cfg, srv.clone(m), Question{
		Query: cfg.ReadyQuery, Writable: cfg.RequireWritable, MaxLag: cfg.MaxLag,
	}, m, p)
	m.watch(checks)
	p.Status(func() any { return checks.status() })
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-switches:
				maint.Switch(sig == syscall.SIGUSR1)
				p.Log.Info("maintenance switched", "on", sig == syscall.SIGUSR1)
			}
		}
	}()
	return serve(ctx, cfg, p, checks, m)
}

// newHealth is one check with a connection of its own: a question that hangs must not make the other one late.
func newHealth(name string, cfg config, srv *Server, q Question, m *metrics, p *daemon.Process) *Health {
	ask := func(ctx context.Context) (Finding, error) { return srv.Ask(ctx, q) }
	if cfg.Check == "tcp" {
		ask = srv.Knock
	}
	return &Health{
		Name: name, Ask: ask, Timeout: cfg.Timeout, TTL: cfg.CacheTTL, Rise: cfg.Rise, Fall: cfg.Fall,
		Checked: func(r Report, err error) { m.checked(name, r, err) },
		Changed: func(r Report) {
			p.Log.Info("state changed", "check", name, "status", r.status(), "reason", r.Reason)
			m.changes.WithLabelValues(name, r.status()).Inc()
		},
	}
}

// serve serves both ports until ctx is done. They share one DRAIN_TIMEOUT.
func serve(ctx context.Context, cfg config, p *daemon.Process, checks *Checks, m *metrics) error {
	web, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	agent, err := net.Listen("tcp", string(cfg.AgentAddr))
	if err != nil {
		web.Close()
		return err
	}
	p.Log.Info("listening", "address", web.Addr().String(), "agent", agent.Addr().String())
	// Of the adapter, not of the server: one that tells of a server that is down does its work.
	p.Ready(true, "")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- p.Serve(ctx, web, webServer(checks, m)) }()
	go func() {
		ended <- p.Serve(ctx, agent, &Agent{Checks: checks, Weight: cfg.AgentWeight, MaxLag: cfg.MaxLag, Metrics: m})
	}()
	first := <-ended
	cancel()
	return errors.Join(first, <-ended)
}

// webServer bounds what a client may take its time with.
func webServer(checks *Checks, m *metrics) *http.Server {
	return &http.Server{
		Handler:           checks.Handler(m),
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "health-adapter",
		Summary: "Health-adapter tells the health of a MySQL or MariaDB server over HTTP, from queries.",
		Run:     run,
	}, os.Args[1:]))
}
