// Slowlog-adapter writes the slow log of a Redis to standard output, one
// structured line an entry.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/pemfile"
)

type config struct {
	RedisAddr     string        `env:"REDIS_ADDR" default:"127.0.0.1:6379" help:"address of Redis, or the path of its socket"`
	RedisUsername string        `env:"REDIS_USERNAME" default:"" secret:"true" help:"user of Redis's ACL; the default user without it"`
	RedisPassword string        `env:"REDIS_PASSWORD" default:"" secret:"true" help:"password of that user"`
	RedisTLS      bool          `env:"REDIS_TLS" default:"false" help:"speak TLS to Redis"`
	RedisCAPath   string        `env:"REDIS_CA_PATH" default:"" help:"file with the CA that signed Redis's certificate; the image has no system CAs"`
	RedisCertPath string        `env:"REDIS_CERT_PATH" default:"" help:"file with a client certificate"`
	RedisKeyPath  string        `env:"REDIS_KEY_PATH" default:"" help:"file with the client certificate's key"`
	RedisTLSName  string        `env:"REDIS_TLS_NAME" default:"" help:"name that Redis's certificate must have; the host of REDIS_ADDR without it"`
	Interval      time.Duration `env:"INTERVAL" default:"10s" min:"10ms" help:"time between polls"`
	MinInterval   time.Duration `env:"MIN_INTERVAL" default:"100ms" min:"10ms" help:"least time between polls, when entries outrun the interval"`
	Timeout       time.Duration `env:"TIMEOUT" default:"2s" min:"10ms" help:"time that Redis gets to accept, and to answer each command"`
	MaxEntries    int           `env:"MAX_ENTRIES" default:"1024" min:"16" max:"65536" help:"most entries that one poll reads; what lies beyond is counted as lost"`
	Output        string        `env:"OUTPUT" default:"json" oneof:"json|logfmt|redis" help:"format of the lines"`
	Redact        []redactName  `env:"REDACT" default:"" help:"commands whose arguments are not shown, besides AUTH, HELLO, CONFIG, ACL and MIGRATE; acl|setuser names a subcommand, * is all"`
	First         string        `env:"FIRST" default:"print" oneof:"print|skip" help:"what to do with entries that are there at the first poll of all"`
	CursorPath    string        `env:"CURSOR_PATH" default:"" help:"file that keeps what was read, so that a restart of the adapter repeats nothing; without it none"`
	Cursor        string        `env:"CURSOR" default:"run_id" oneof:"run_id|id" help:"what the cursor is made of; id imitates collectors that go mute after a restart of Redis: do not use it"`
	AfterRead     string        `env:"AFTER_READ" default:"keep" oneof:"keep|reset" help:"what to do with Redis's log after reading it; reset imitates collectors that take it from everyone else: do not use it"`
	daemon.Config
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	server, err := cfg.server()
	if err != nil {
		return err
	}
	names := make([]string, len(cfg.Redact))
	for i, n := range cfg.Redact {
		names[i] = string(n)
	}
	a := &Adapter{
		Server: server, Out: os.Stdout, Format: formats[cfg.Output], Redact: newRedact(names...),
		Interval: cfg.Interval, MinInterval: cfg.MinInterval, MaxEntries: cfg.MaxEntries,
		SkipFirst: cfg.First == "skip", IDOnly: cfg.Cursor == "id", Reset: cfg.AfterRead == "reset",
		Log: p.Log, Metrics: newMetrics(p.Metrics), Ready: p.Ready,
	}
	if cfg.CursorPath != "" {
		a.Store = &Store{Path: cfg.CursorPath}
	}
	p.Status(func() any { return a.Status() })
	p.Ready(false, "no poll yet")
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, p.DrainContext) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	drain := p.DrainContext()
	select {
	case err := <-done:
		return err
	case <-drain.Done():
		// Nobody reads standard output: a write cannot be interrupted, but waited for no longer.
		return fmt.Errorf("write what is left: %w after %s", daemon.ErrDrainCut, cfg.DrainTimeout)
	}
}

// server is the Redis of the settings. Files are read now, so that a wrong path is a failure at the start.
func (cfg config) server() (*Server, error) {
	s := &Server{
		Addr: cfg.RedisAddr, Username: cfg.RedisUsername, Password: cfg.RedisPassword,
		Timeout: cfg.Timeout, Name: newName(),
	}
	host := ""
	if !strings.HasPrefix(s.Addr, "/") {
		var err error
		if host, _, err = net.SplitHostPort(s.Addr); err != nil {
			return nil, fmt.Errorf("REDIS_ADDR: %w", err)
		}
	}
	if !cfg.RedisTLS {
		if cfg.RedisCAPath+cfg.RedisCertPath+cfg.RedisKeyPath+cfg.RedisTLSName != "" {
			return nil, errors.New("settings of TLS are given, and REDIS_TLS is false: the password would cross in the clear")
		}
		return s, nil
	}
	s.TLS = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if cfg.RedisTLSName != "" {
		s.TLS.ServerName = cfg.RedisTLSName
	}
	if cfg.RedisCAPath != "" {
		var err error
		if s.TLS.RootCAs, err = pemfile.Pool(cfg.RedisCAPath); err != nil {
			return nil, fmt.Errorf("REDIS_CA_PATH: %w", err)
		}
	}
	if (cfg.RedisCertPath == "") != (cfg.RedisKeyPath == "") {
		return nil, errors.New("REDIS_CERT_PATH and REDIS_KEY_PATH: one without the other: a client certificate is both")
	}
	if cfg.RedisCertPath != "" {
		pair, err := pemfile.LoadPair(cfg.RedisCertPath, cfg.RedisKeyPath)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		s.TLS.Certificates = []tls.Certificate{pair}
	}
	return s, nil
}

// newName is what Redis is told to call this client. Part of it is random: another adapter's commands are not its own,
// and nobody hides from it by taking its name.
func newName() string {
	b := make([]byte, 6)
	rand.Read(b) // never fails
	return "slowlog-adapter-" + hex.EncodeToString(b)
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "slowlog-adapter",
		Summary: "Slowlog-adapter writes the slow log of a Redis to standard output, one structured line an entry.",
		Run:     run,
	}, os.Args[1:]))
}
