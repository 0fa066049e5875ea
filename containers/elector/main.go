// Elector is a sidecar that makes one of several copies of an app the owner of something, over etcd, and tells the app
// whether it is the one: by HTTP, by a file, and with a token that grows with each owner, for whoever stores what the
// owner writes.
//
//	ELECTION=ledger ID=node-a ADDRESS=node-a:8080 ETCD_ENDPOINTS=http://etcd:2379 elector &
//	curl -i localhost:4040/owner
//
// Source: the ownership election of Brendan Burns, Designing Distributed Systems, chapter 9; the timings are those of
// Kubernetes' client-go (tools/leaderelection), the token that of Martin Kleppmann, "How to do distributed locking".
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
	"distlab/containers/internal/etcd"
	"distlab/containers/internal/names"
)

const (
	name    = "elector"
	summary = "Elector makes one of several copies of an app the owner, over etcd, and tells the app whether it is the one."
)

type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:"127.0.0.1:4040" help:"address to tell the app at who the owner is"`
	Election   string   `env:"ELECTION" help:"name of what is owned; candidates with the same one compete"`
	ID         string   `env:"ID" default:"" help:"this candidate's name; without it the host's"`
	Address    string   `env:"ADDRESS" default:"" help:"host:port at which others reach the app while this candidate is the owner"`

	Endpoints []string `env:"ETCD_ENDPOINTS" default:"http://etcd:2379" help:"etcd's members; another one is asked when one does not answer"`
	KeyPrefix string   `env:"KEY_PREFIX" default:"/elections/" help:"what the key of the election begins with"`

	LeaseDuration time.Duration `env:"LEASE_DURATION" default:"15s" min:"2s" max:"1h" help:"how long the others wait for an owner that is not heard of; in whole seconds"`
	RenewDeadline time.Duration `env:"RENEW_DEADLINE" default:"10s" min:"0s" help:"how long an owner goes on without a renewal, by its own clock; 0: until the store says that it is over, which is too late"`
	RetryPeriod   time.Duration `env:"RETRY_PERIOD" default:"2s" min:"10ms" help:"time between two renewals, and two tries; what the store has not answered by then is asked of another member"`
	Campaign      string        `env:"CAMPAIGN" default:"always" oneof:"always|once" help:"when to try to become the owner: whenever there is none, or at the start alone"`

	AppURL      string        `env:"APP_URL" default:"" help:"what to GET of the app once in a RETRY_PERIOD; while that is not 2xx this candidate does not try, and does not stay the owner; none: the app is not asked"`
	AppTimeout  time.Duration `env:"APP_TIMEOUT" default:"1s" min:"10ms" help:"time for that"`
	AppFailures int           `env:"APP_FAILURES" default:"3" min:"1" help:"bad answers in a row after which an owner hands over"`
	ReleaseURL  string        `env:"RELEASE_URL" default:"" help:"what to POST to before the lease is given back, so that the app ends what it does as the owner; it is the owner no more when it hears of it; none: the app is not told"`

	StatePath string  `env:"STATE_FILE" default:"" help:"file that says the same as HTTP, written whole at each change and renewal; none: no file"`
	ClockRate float64 `env:"CLOCK_RATE" default:"1" min:"0.01" max:"100" help:"how fast this candidate's clock runs; for drills: anything but 1 is a fault"`

	daemon.Config
}

// slack is how much longer than RETRY_PERIOD a pause between two tries may be, so that candidates do not go in step.
const slack = 1.2

// Check finds timings that cannot keep two owners apart, and what is no name, address or URL.
func (cfg config) Check() error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	for _, n := range [][2]string{{"ELECTION", cfg.Election}, {"ID", cmp.Or(cfg.ID, "host")}} {
		if !names.Plain(n[1]) {
			add("%s=%.80q: not %s", n[0], n[1], names.What)
		}
	}
	if cfg.Address != "" {
		if host, port, err := net.SplitHostPort(cfg.Address); err != nil || host == "" || port == "" {
			add("ADDRESS=%.80q: not host:port", cfg.Address)
		}
	}
	if err := etcd.CheckEndpoints(cfg.Endpoints); err != nil {
		add("ETCD_ENDPOINTS: %w", err)
	}
	for _, u := range [][2]string{{"APP_URL", cfg.AppURL}, {"RELEASE_URL", cfg.ReleaseURL}} {
		if u[1] != "" {
			if err := checkURL(u[1]); err != nil {
				add("%s: %w", u[0], err)
			}
		}
	}
	if cfg.LeaseDuration%time.Second != 0 {
		add("LEASE_DURATION=%v: not whole seconds, which are all that etcd knows", cfg.LeaseDuration)
	}
	if cfg.RenewDeadline != 0 {
		if cfg.RenewDeadline >= cfg.LeaseDuration {
			add("RENEW_DEADLINE=%v: not less than LEASE_DURATION=%v: there would be two owners", cfg.RenewDeadline, cfg.LeaseDuration)
		}
		if float64(cfg.RenewDeadline) <= slack*float64(cfg.RetryPeriod) {
			add("RENEW_DEADLINE=%v: not more than %v times RETRY_PERIOD=%v: an owner would give up before its second try",
				cfg.RenewDeadline, slack, cfg.RetryPeriod)
		}
	}
	return errors.Join(bad...)
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%.80q: not http://host:port", text)
	}
	return nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	if cfg.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		if cfg.ID = host; !names.Plain(host) {
			return fmt.Errorf("ID: this host's name %.80q is not %s: set ID", host, names.What)
		}
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}}
	store := &Store{
		Key: cfg.KeyPrefix + cfg.Election + "/owner",
		Client: &etcd.Client{
			Endpoints: cfg.Endpoints, HTTP: client, Timeout: cfg.RetryPeriod, Most: 64 << 10,
		},
	}
	e := &Elector{
		Store: store, Election: cfg.Election, ID: cfg.ID, Address: cfg.Address,
		Lease: cfg.LeaseDuration, Deadline: cfg.RenewDeadline, Retry: cfg.RetryPeriod, Once: cfg.Campaign == "once",
		App: &App{
			URL: cfg.AppURL, Timeout: cfg.AppTimeout, Failures: cfg.AppFailures, Release: cfg.ReleaseURL,
			Client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}},
		},
		Clock: Clock(cfg.ClockRate), StatePath: cfg.StatePath,
		Ready: p.Ready, Drain: p.DrainContext, Log: p.Log, Metrics: newMetrics(p.Metrics),
	}
	e.Metrics.watch(p.Metrics, e)
	if err := e.Open(); err != nil {
		return err
	}
	p.Status(func() any { return e.Status() })
	p.Handle("POST /handover", http.HandlerFunc(e.serveHandover))
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Log.Info("listening", "address", ln.Addr().String(), "election", cfg.Election, "id", cfg.ID)
	if cfg.ClockRate != 1 {
		p.Log.Warn("the clock is wrong on purpose", "rate", cfg.ClockRate)
	}
	// The app is told until the lease has been given back: it is told that it is not the owner.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	served := make(chan error, 1)
	go func() {
		err := p.Serve(serving, ln, e.Server())
		served <- err
	}()
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	select {
	case err := <-served: // the listener is gone: an owner that cannot tell it is none
		return err
	case <-done:
		stop()
		return <-served
	}
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{Name: name, Summary: summary, Run: run}, os.Args[1:]))
}
