// Log-adapter turns the logs of apps, whatever each looks like, into one JSON line an event.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
	_ "time/tzdata" // an image from scratch has no zones

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/follow"
)

type config struct {
	Inputs         []Input       `env:"INPUTS" default:"-" help:"where lines come from: [docker+|cri+][FORMAT=] and - for standard input, /logs/*.log, tcp://HOST:PORT or unix:///PATH; FORMAT is auto, trace, access, apache-error, logfmt, json, klog, syslog or pattern"`
	Pattern        regex         `env:"PATTERN" default:"" help:"RE2 expression for the line that begins an event of FORMAT pattern; its groups time, level and message are what they say, others are fields"`
	PatternTime    string        `env:"PATTERN_TIME" default:"" help:"Go's layout of the group time; without it the usual ones are tried"`
	Output         string        `env:"OUTPUT" default:"otel" oneof:"otel|ecs" help:"names of the fields: OpenTelemetry's log data model or the Elastic Common Schema"`
	Service        string        `env:"SERVICE" default:"" help:"name of the app"`
	LogTZ          location      `env:"LOG_TZ" default:"UTC" help:"zone of times that have none, like Europe/Berlin"`
	Times          string        `env:"TIMES" default:"utc" oneof:"utc|local" help:"what becomes of times; local imitates adapters that leave the zone aside: do not use it"`
	Join           string        `env:"JOIN" default:"events" oneof:"events|none" help:"whether lines are joined to events; none imitates adapters that know nothing of traces: do not use it"`
	Flush          time.Duration `env:"FLUSH" default:"2s" min:"10ms" help:"time after an event's last line at which it is written, though more may come"`
	FlushFrom      string        `env:"FLUSH_FROM" default:"last" oneof:"last|first" help:"the line from which FLUSH counts; first imitates fluentd, which cuts slow traces: do not use it"`
	MaxLine        env.Bytes     `env:"MAX_LINE" default:"64KiB" min:"64B" max:"16MiB" help:"bytes of a line that are kept; the rest is left out and the event marked"`
	MaxLines       int           `env:"MAX_LINES" default:"1000" min:"1" max:"1000000" help:"lines of one event; the rest becomes another, which is marked"`
	MaxEvent       env.Bytes     `env:"MAX_EVENT" default:"1MiB" min:"64B" max:"64MiB" help:"bytes of one event; the rest becomes another, which is marked"`
	MaxConnections int           `env:"MAX_CONNECTIONS" default:"64" min:"1" max:"65536" help:"connections of an input at a time; others are refused"`
	Unparsed       string        `env:"UNPARSED" default:"keep" oneof:"keep|drop" help:"what becomes of lines that are not understood; drop loses them: do not use it"`
	Original       bool          `env:"ORIGINAL" default:"false" help:"keep the lines as they were beside what was made of them; those that are not understood always are"`
	RateLimit      int           `env:"RATE_LIMIT" default:"0" min:"0" help:"events a second of one stream; what is over it is left out, counted and told; 0: any"`
	CheckpointPath string        `env:"CHECKPOINT_PATH" default:"" help:"file that keeps how far files were read; without it each start reads them from their beginning"`
	ReadFrom       string        `env:"READ_FROM" default:"beginning" oneof:"beginning|end" help:"where to begin in files that are there at the first start of all"`
	Poll           time.Duration `env:"POLL" default:"250ms" min:"10ms" help:"time between looks at the files, and at what has waited long enough"`
	RotateWait     time.Duration `env:"ROTATE_WAIT" default:"5s" help:"time for which a renamed file may still be written to"`
	daemon.Config
}

// pattern is a name with wildcards.
type pattern string

func (p *pattern) check() error {
	if _, err := filepath.Match(string(*p), ""); err != nil {
		return errors.New("not a pattern like /logs/*.log: [ without ]")
	}
	return nil
}

// regex is an RE2 expression, or none.
type regex struct{ *regexp.Regexp }

// UnmarshalText compiles it.
func (r *regex) UnmarshalText(text []byte) (err error) {
	if len(text) > 0 {
		r.Regexp, err = regexp.Compile(string(text))
	}
	return err
}

// SettingType names the type in the documentation.
func (*regex) SettingType() (name, want string) { return "RE2", "a regular expression (RE2)" }

// location is a zone by its name.
type location struct{ *time.Location }

// UnmarshalText finds it.
func (l *location) UnmarshalText(text []byte) (err error) {
	if string(text) == "Local" {
		return errors.New("name the zone: an image has none of its own")
	}
	l.Location, err = time.LoadLocation(string(text))
	return err
}

// SettingType names the type in the documentation.
func (*location) SettingType() (name, want string) { return "zone", "a zone like Europe/Berlin" }

// Check finds settings that contradict each other.
func (cfg config) Check() error {
	stdin := 0
	for _, in := range cfg.Inputs {
		if in.Kind == "stdin" {
			stdin++
		}
		if in.Format == "pattern" && cfg.Pattern.Regexp == nil {
			return errors.New("INPUTS: FORMAT pattern needs a PATTERN")
		}
	}
	if stdin > 1 {
		return errors.New("INPUTS: there is one standard input")
	}
	if cfg.Pattern.Regexp != nil && cfg.Pattern.MatchString("") {
		return errors.New("PATTERN: matches an empty line: every line would begin an event")
	}
	return nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	daemon.CollectWithin(daemon.Available().Memory)
	m := newMetrics(p.Metrics)
	a := &Adapter{
		Inputs: cfg.Inputs, Kept: follow.Checkpoint{Path: cfg.CheckpointPath},
		Limits: Limits{cfg.MaxLines, int(cfg.MaxEvent), cfg.Flush, cfg.FlushFrom == "first", cfg.Join == "none"},
		Clock:  &Clock{Zone: cfg.LogTZ.Location, Now: time.Now}, LocalTime: cfg.Times == "local", Drop: cfg.Unparsed == "drop",
		Original: cfg.Original, MaxLine: int(cfg.MaxLine), MaxConns: cfg.MaxConnections, Rate: cfg.RateLimit, Poll: cfg.Poll,
		Stdin: os.Stdin, Out: os.Stdout, Render: renders[cfg.Output], Service: cfg.Service, Log: p.Log, Metrics: m, Ready: p.Ready,
	}
	if cfg.Pattern.Regexp != nil {
		a.Pattern = newPattern(cfg.Pattern.Regexp, cfg.PatternTime)
	}
	var paths []string
	for _, in := range cfg.Inputs {
		if in.Kind == "file" {
			paths = append(paths, in.Where)
		}
	}
	if len(paths) > 0 {
		a.Follower = &follow.Follower{
			Paths: paths, Exclude: []string{"*.gz", "*.bz2", "*.xz", "*.zst", "*.tmp"}, FromEnd: cfg.ReadFrom == "end", RotateWait: cfg.RotateWait,
			MaxLine: int(cfg.MaxLine), MaxFiles: 256, BatchSize: 512 << 10, Drop: follow.Oldest, Log: p.Log, Count: m.counters(),
		}
	}
	p.Status(func() any { return a.Status() })
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-p.DrainContext().Done():
		// Nobody reads standard output: a write cannot be interrupted, but waited for no longer.
		return fmt.Errorf("write what is left: %w after %s", daemon.ErrDrainCut, cfg.DrainTimeout)
	}
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "log-adapter",
		Summary: "Log-adapter turns the logs of apps, whatever each looks like, into one JSON line an event.",
		Run:     run,
	}, os.Args[1:]))
}
