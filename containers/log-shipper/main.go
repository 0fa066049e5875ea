// Log-shipper follows an app's log files and ships their lines to a store, each once and whole.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/follow"
	"distlab/containers/internal/pemfile"
)

type config struct {
	Paths          []pattern     `env:"PATHS" help:"names of the files to follow, with * and ? and [] as in a shell"`
	RotatedPaths   []pattern     `env:"ROTATED_PATHS" default:"" help:"names that a rotation gives them; without it, a followed name with .* or -* behind it"`
	Exclude        []pattern     `env:"EXCLUDE" default:"*.gz,*.bz2,*.xz,*.zst,*.lz4,*.zip,*.Z,*.tmp" help:"last elements of names that are left alone"`
	CheckpointPath string        `env:"CHECKPOINT_PATH" default:"" help:"file that keeps how far everything was acknowledged; without it each start reads all files from their beginning"`
	CheckpointWait time.Duration `env:"CHECKPOINT_WAIT" default:"200ms" help:"least time between two writes of the checkpoint"`
	ReadFrom       string        `env:"READ_FROM" default:"beginning" oneof:"beginning|end" help:"where to begin in files that are there at the first start of all"`
	Poll           time.Duration `env:"POLL" default:"250ms" min:"10ms" help:"time between looks at the files"`
	RotateWait     time.Duration `env:"ROTATE_WAIT" default:"5s" help:"time for which a renamed file may still be written to"`
	MaxLine        env.Bytes     `env:"MAX_LINE" default:"64KiB" min:"64B" max:"16MiB" help:"bytes of a line that are shipped; the rest is left out"`
	MaxFiles       int           `env:"MAX_FILES" default:"256" min:"1" max:"65536" help:"files open at a time"`
	BatchSize      env.Bytes     `env:"BATCH_SIZE" default:"512KiB" min:"1KiB" max:"64MiB" help:"bytes of lines in a batch, about"`
	BatchWait      time.Duration `env:"BATCH_WAIT" default:"500ms" help:"time after its first line at which a batch leaves"`
	Buffer         env.Bytes     `env:"BUFFER" default:"4MiB" help:"memory for lines that were read and are not acknowledged; 0B is no bound: do not use it"`
	Backlog        env.Bytes     `env:"BACKLOG" default:"1GiB" help:"space on the disk that may wait for the shipper; beyond it lines are dropped; 0B is no bound"`
	Drop           string        `env:"DROP" default:"oldest" oneof:"oldest|newest" help:"which lines give way when too much waits"`
	Follow         string        `env:"FOLLOW" default:"file" oneof:"file|name" help:"what is followed; name imitates collectors that forget a file once it is renamed: do not use it"`
	Output         string        `env:"OUTPUT" default:"http" oneof:"http|otlp|syslog" help:"how lines are sent: JSON lines over HTTP, OTLP over HTTP, or RFC 5424 over TCP"`
	StoreURL       address       `env:"STORE_URL" help:"where to: http://HOST:PORT/PATH or https://…; for syslog tcp://HOST:PORT or tls://HOST:PORT"`
	StoreCAPath    string        `env:"STORE_CA_PATH" default:"" help:"file with the CA that signed the store's certificate; the image has no system CAs"`
	Token          string        `env:"TOKEN" default:"" secret:"true" help:"bearer token for the store"`
	Gzip           bool          `env:"GZIP" default:"true" help:"compress requests"`
	SendTimeout    time.Duration `env:"SEND_TIMEOUT" default:"10s" min:"10ms" help:"time that the store gets to acknowledge a batch"`
	RetryMin       time.Duration `env:"RETRY_MIN" default:"100ms" min:"1ms" help:"wait before the second attempt; it doubles"`
	RetryMax       time.Duration `env:"RETRY_MAX" default:"10s" min:"1ms" help:"longest wait between attempts, whatever the store asks for"`
	Service        string        `env:"SERVICE" default:"" help:"name of the app that writes the files"`
	Host           string        `env:"HOST" default:"" help:"name of the machine; the kernel's without it"`
	daemon.Config
}

// pattern is a name with wildcards.
type pattern string

// UnmarshalText checks the form.
func (p *pattern) UnmarshalText(text []byte) error {
	if _, err := filepath.Match(string(text), ""); err != nil {
		return errors.New("not a pattern like /logs/*.log: [ without ]")
	}
	*p = pattern(text)
	return nil
}

// SettingType names the type in the documentation.
func (*pattern) SettingType() (name, want string) { return "pattern", "a pattern like /logs/*.log" }

// address is where the store is: a URL with a host.
type address string

// UnmarshalText checks the form. Which schemes will do depends on the output.
func (a *address) UnmarshalText(text []byte) error {
	if u, err := url.Parse(string(text)); err != nil || u.Host == "" {
		_, want := a.SettingType()
		return errors.New("not " + want)
	}
	*a = address(text)
	return nil
}

// SettingType names the type in the documentation.
func (*address) SettingType() (name, want string) { return "URL", "a URL like http://store:8080/logs" }

func texts(list []pattern) (out []string) {
	for _, p := range list {
		out = append(out, string(p))
	}
	return out
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	daemon.CollectWithin(daemon.Available().Memory)
	if cfg.Host == "" {
		cfg.Host, _ = os.Hostname()
	}
	m := newMetrics(p.Metrics)
	out, err := cfg.output(m)
	if err != nil {
		return err
	}
	s := &Shipper{
		Follower: &follow.Follower{
			Paths: texts(cfg.Paths), Rotated: texts(cfg.RotatedPaths), Exclude: texts(cfg.Exclude), FromEnd: cfg.ReadFrom == "end",
			RotateWait: cfg.RotateWait, MaxLine: int(cfg.MaxLine), MaxFiles: cfg.MaxFiles, BatchSize: int64(cfg.BatchSize),
			Limit: int64(cfg.Backlog), Drop: follow.Drop(cfg.Drop), ByName: cfg.Follow == "name", Log: p.Log, Count: m.counters(),
		},
		Sender: &Sender{
			Output: out, Timeout: cfg.SendTimeout, RetryMin: cfg.RetryMin, RetryMax: max(cfg.RetryMin, cfg.RetryMax), Log: p.Log, Metrics: m,
		},
		Checkpoint: follow.Checkpoint{Path: cfg.CheckpointPath}, Poll: cfg.Poll, BatchWait: cfg.BatchWait, Buffer: int64(cfg.Buffer),
		Save: cfg.CheckpointWait, Log: p.Log, Metrics: m, Ready: p.Ready,
	}
	p.Status(func() any { return s.Status() })
	return s.Run(ctx, p.DrainContext)
}

// output is the way out that the settings say. What can be seen to be wrong is an error at the start.
func (cfg config) output(m *metrics) (Output, error) {
	u, err := url.Parse(string(cfg.StoreURL))
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	if cfg.StoreCAPath != "" {
		if secure.RootCAs, err = pemfile.Pool(cfg.StoreCAPath); err != nil {
			return nil, fmt.Errorf("STORE_CA_PATH: %w", err)
		}
	}
	if cfg.Output == "syslog" {
		if u.Scheme != "tcp" && u.Scheme != "tls" || u.Port() == "" {
			return nil, fmt.Errorf("STORE_URL=%q: OUTPUT=syslog needs tcp://HOST:PORT or tls://HOST:PORT", cfg.StoreURL)
		}
		s := &Syslog{Addr: u.Host, Host: cfg.Host, Service: cfg.Service, Priority: syslogPriority}
		if u.Scheme == "tls" {
			s.TLS = secure
		}
		return s, nil
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("STORE_URL=%q: OUTPUT=%s needs http:// or https://", cfg.StoreURL, cfg.Output)
	}
	if cfg.Token != "" && u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, errors.New("TOKEN: it would cross the network in the clear; use https:// in STORE_URL, or leave it out")
	}
	return &HTTP{
		Client: newClient(&http.Transport{
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSClientConfig: secure, ForceAttemptHTTP2: true,
			DisableCompression: true, MaxResponseHeaderBytes: maxAnswer, IdleConnTimeout: 30 * time.Second,
		}),
		URL: string(cfg.StoreURL), OTLP: cfg.Output == "otlp", Gzip: cfg.Gzip, Token: cfg.Token, Host: cfg.Host, Service: cfg.Service,
		Reject: func(lines int64, _ string) { m.dropped("rejected", lines, 0) },
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// syslogPriority is facility local0, severity informational: what a line's own severity is, the shipper does not know.
const syslogPriority = 16*8 + 6

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "log-shipper",
		Summary: "Log-shipper follows an app's log files and ships their lines to a store, each once and whole.",
		Run:     run,
	}, os.Args[1:]))
}
