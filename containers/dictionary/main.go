// Dictionary is the service that the serving labs make copies of: it answers what words mean.
//
// A copy holds all of its data and nothing that another one lacks, so any number of them may stand behind one address.
// It loads its words before it can answer, and says so on /readyz; it ends in order; an answer can cost as much of a
// processor as wanted; and one thing is not shared, the count of a client's visits, so that a client who is moved sees
// it.
//
//	dictionary &
//	curl http://127.0.0.1:8080/serenity
//
// Source: the replicated service of Brendan Burns, Designing Distributed Systems, "Replicated Load-Balanced Services";
// the words are WordNet's (https://wordnet.princeton.edu), see wordnet/.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/net/netutil"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to serve HTTP/1.1 on"`
	Name       string   `env:"NAME" default:"" help:"what the replica calls itself in X-Served-By; none: the host's name"`

	WordsPath string        `env:"WORDS_PATH" default:"" help:"file of lines WORD, part of speech, definition, with tabs between, perhaps gzipped, read again at SIGHUP; none: WordNet's, built in"`
	LoadTime  time.Duration `env:"LOAD_TIME" default:"0s" min:"0s" max:"10m" help:"time that loading takes at the start, at least; until then the answer is 503, and /readyz says so"`
	CPUCost   time.Duration `env:"CPU_COST" default:"0s" min:"0s" max:"10s" help:"processor time that each answer takes"`

	MaxAge               time.Duration `env:"MAX_AGE" default:"1m" min:"0s" max:"8760h" help:"for how long an answer may be kept by caches, in whole seconds; 0: it must be asked for again"`
	StaleWhileRevalidate time.Duration `env:"STALE_WHILE_REVALIDATE" default:"0s" min:"0s" max:"8760h" help:"for how long after that it may be used while it is asked for again; 0: not said"`
	StaleIfError         time.Duration `env:"STALE_IF_ERROR" default:"0s" min:"0s" max:"8760h" help:"for how long after that it may be used when there is no better; 0: not said"`

	MaxSessions    int           `env:"MAX_SESSIONS" default:"10000" min:"1" max:"1000000" help:"clients whose visits are counted; the one that was away longest makes room"`
	SessionTimeout time.Duration `env:"SESSION_TIMEOUT" default:"30m" min:"1s" help:"time without a visit after which a client is forgotten"`

	LameDuck       time.Duration `env:"LAME_DUCK" default:"2s" min:"0s" help:"time after SIGTERM in which it still serves everybody, while /readyz says that it is stopping"`
	MaxConnections int           `env:"MAX_CONNECTIONS" default:"1000" min:"1" help:"connections at once; more wait"`
	MaxRequests    int           `env:"MAX_REQUESTS" default:"500" min:"1" help:"requests at once; more are answered 503"`
	Trouble        Beginning     `env:"TROUBLE" default:"off" help:"the trouble to begin with: none, or unready=true status=500 delay=2s …; the admin port's /trouble changes it; off: there is no such thing"`
	daemon.Config
}

// Check finds settings that contradict each other.
func (cfg config) Check() error {
	if cfg.LameDuck >= cfg.DrainTimeout {
		return fmt.Errorf("LAME_DUCK=%v: is not less than DRAIN_TIMEOUT, %v, which it is a part of",
			cfg.LameDuck, cfg.DrainTimeout)
	}
	return nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	name := cfg.Name
	if name == "" {
		name, _ = os.Hostname()
	}
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	s := &Server{
		Name: name, CacheControl: cacheControl(cfg.MaxAge, cfg.StaleWhileRevalidate, cfg.StaleIfError),
		Work:        NewWork(cfg.CPUCost),
		Sessions:    &Sessions{Max: cfg.MaxSessions, Timeout: cfg.SessionTimeout},
		MaxRequests: cfg.MaxRequests,
		Trouble:     &Switch{},
		Log:         p.Log,
		Metrics:     newMetrics(p.Metrics),
	}
	s.observe(p.Metrics)
	p.Status(func() any { return s.Status() })
	if cfg.Trouble.On {
		s.Trouble.Set(cfg.Trouble.Trouble)
		s.Trouble.Handle(p)
	}
	// It listens before it can answer: who asks too early is told so, which a closed port would not do.
	p.Log.Info("listening", "address", ln.Addr().String(), "name", name)
	failed := make(chan error, 1)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() {
		if err := s.load(ctx, cfg.WordsPath, cfg.LoadTime, p); err != nil {
			failed <- err
			stop()
			return
		}
		s.reload(ctx, cfg.WordsPath, p)
	}()
	go func() {
		<-ctx.Done()
		s.Stop()
		// The balancers that ask /readyz stop sending in this time; those who are connected are told to leave.
		select {
		case <-time.After(cfg.LameDuck):
		case <-serving.Done():
		}
		stop()
	}()
	err = p.Serve(serving, netutil.LimitListener(ln, cfg.MaxConnections), s.HTTP())
	select {
	case loading := <-failed:
		return errors.Join(loading, err)
	default:
		return err
	}
}

// load reads the words, and takes at least so long for it.
func (s *Server) load(ctx context.Context, path string, least time.Duration, p *daemon.Process) error {
	begun := time.Now()
	p.Ready(false, loading)
	d, err := Open(path)
	if err != nil {
		return err
	}
	select {
	case <-time.After(least - time.Since(begun)):
	case <-ctx.Done():
		return nil
	}
	s.Use(d)
	s.Metrics.loaded.Set(time.Since(begun).Seconds())
	p.Log.Info("loaded", "words", d.Len(), "load_seconds", time.Since(begun).Seconds())
	p.Ready(true, "")
	return nil
}

// reload reads the file again at every SIGHUP. A bad one changes nothing.
func (s *Server) reload(ctx context.Context, path string, p *daemon.Process) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.Reload:
		}
		d, err := Open(path)
		if err != nil {
			s.Metrics.reloads.WithLabelValues("refused").Inc()
			p.Log.Error("words refused", "error", err)
			continue
		}
		s.Use(d)
		s.Metrics.reloads.WithLabelValues("loaded").Inc()
		p.Log.Info("words loaded", "words", d.Len())
	}
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "dictionary",
		Summary: "Dictionary answers what words mean, from any number of copies.",
		Run:     run,
		Commands: []daemon.Command{{
			Name: "trouble", Run: trouble,
			Summary: "make trouble in the program of this container: trouble status=500 share=0.5; trouble none ends it",
		}},
	}, os.Args[1:]))
}
