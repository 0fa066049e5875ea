// Ledger keeps accounts that are only right with one writer at a time, and proves that there was one. It has two roles.
//
// The store keeps the balances, refuses whoever has an older fencing token than somebody before, and remembers who wrote
// what with which token. The clerk is an app with a cache: the owner of an election, who keeps the balances in memory, adds to
// them, and writes them through.
//
//	ROLE=store ledger &
//	ROLE=clerk STORE_URL=http://store:8080 OWNER_URL=http://127.0.0.1:4040/owner ID=node-a ledger &
//	curl -X POST 'localhost:8080/accounts/rent?add=5'
//
// Source: the fencing tokens of Martin Kleppmann, "How to do distributed locking", and of the Chubby paper's sequencers.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/names"

	"golang.org/x/net/netutil"
)

const (
	name    = "ledger"
	summary = "Ledger keeps accounts that need a single writer, refuses old ones by their fencing tokens, and keeps the history."
)

type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to serve HTTP on"`
	Role       string   `env:"ROLE" default:"store" oneof:"store|clerk" help:"keep the accounts, or keep them in memory before a store while this one is the owner"`

	Fencing     bool   `env:"FENCING" default:"true" help:"the store refuses old tokens and sessions; false: it believes everybody, as most stores do"`
	JournalPath string `env:"JOURNAL_PATH" default:"" help:"file that the store writes everything to before it answers, and reads at its start; none: in memory"`
	History     int    `env:"HISTORY" default:"100000" min:"100" max:"10000000" help:"entries that the store remembers"`
	MaxAccounts int    `env:"MAX_ACCOUNTS" default:"1000" min:"1" help:"accounts in the store"`

	ID           string        `env:"ID" default:"" help:"the clerk's name in the history; without it the host's"`
	StoreURL     string        `env:"STORE_URL" default:"" help:"the clerk's store"`
	OwnerURL     string        `env:"OWNER_URL" default:"http://127.0.0.1:4040/owner" help:"what the clerk asks before each request whether it is the owner: 200 and Fencing-Token if so"`
	OwnerTimeout time.Duration `env:"OWNER_TIMEOUT" default:"1s" min:"10ms" help:"time for that; without an answer it is not"`
	StoreTimeout time.Duration `env:"STORE_TIMEOUT" default:"3s" min:"10ms" help:"time for the store to answer the clerk"`
	MaxThink     time.Duration `env:"MAX_THINK" default:"0s" help:"longest that a request to the clerk may ask it to think (think=2s) between its last look and its write; for drills"`

	MaxConnections int `env:"MAX_CONNECTIONS" default:"1000" min:"10" help:"connections at once; more wait"`

	daemon.Config
}

// Check finds settings that do not go together.
func (cfg config) Check() error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if cfg.Role == "store" {
		if cfg.StoreURL != "" {
			add("STORE_URL: means nothing without ROLE=clerk")
		}
		return errors.Join(bad...)
	}
	for _, u := range [][2]string{{"STORE_URL", cfg.StoreURL}, {"OWNER_URL", cfg.OwnerURL}} {
		if p, err := url.Parse(u[1]); err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" {
			add("%s=%.80q: not http://host:port", u[0], u[1])
		}
	}
	if !names.Plain(cmp.Or(cfg.ID, "host")) {
		add("ID=%.80q: not %s", cfg.ID, names.What)
	}
	if cfg.JournalPath != "" {
		add("JOURNAL_PATH: means nothing with ROLE=clerk")
	}
	return errors.Join(bad...)
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	defer ln.Close()
	requests := newRequests(p.Metrics)
	var handler http.Handler
	if cfg.Role == "store" {
		store := &Store{Fencing: cfg.Fencing, Path: cfg.JournalPath, Most: cfg.History, MaxAccounts: cfg.MaxAccounts}
		if err := store.Open(); err != nil {
			return err
		}
		defer store.Close()
		store.register(p.Metrics)
		p.Status(func() any { return store.Status() })
		if !cfg.Fencing {
			p.Log.Warn("old tokens are believed")
		}
		handler = (&StoreAPI{Store: store, Log: p.Log}).Handler()
	} else {
		if cfg.ID == "" {
			if cfg.ID, err = os.Hostname(); err != nil {
				return err
			}
			if !names.Plain(cfg.ID) {
				return fmt.Errorf("ID: this host's name %.80q is not %s: set ID", cfg.ID, names.What)
			}
		}
		clerk := &Clerk{
			ID: cfg.ID, StoreURL: cfg.StoreURL, OwnerURL: cfg.OwnerURL, OwnerTimeout: cfg.OwnerTimeout, StoreTimeout: cfg.StoreTimeout,
			MaxThink: cfg.MaxThink, Client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}},
			Log: p.Log,
		}
		clerk.register(p.Metrics)
		p.Status(func() any { return clerk.Status() })
		handler = clerk.Handler()
	}
	p.Log.Info("listening", "address", ln.Addr().String(), "role", cfg.Role)
	p.Ready(true, "")
	return p.Serve(ctx, netutil.LimitListener(ln, cfg.MaxConnections), &http.Server{
		Handler: requests.count(handler), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: cfg.MaxThink + 30*time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	})
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{Name: name, Summary: summary, Run: run}, os.Args[1:]))
}
