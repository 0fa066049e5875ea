// Config-sidecar brings configuration to an app that reads files: it follows a source, renders and checks each new
// version, switches the app's files to it as one, and tells the app by a signal or by HTTP.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/template"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/etcd"
	"distlab/containers/internal/pemfile"
	"distlab/containers/internal/procs"
)

type config struct {
	Source      sourceURL     `env:"SOURCE" help:"where the configuration comes from: http://HOST/PATH, https://…, etcd://HOST:2379,HOST:2379/PREFIX/, etcds://… or the path of a folder"`
	SourceToken string        `env:"SOURCE_TOKEN" default:"" secret:"true" help:"bearer token for an HTTP source"`
	SourceCA    string        `env:"SOURCE_CA_PATH" default:"" help:"file with the certificates that an https or etcds source is known by; those of the image, which has none, without it"`
	SourceFile  string        `env:"SOURCE_FILE" default:"" help:"name of the one file that an HTTP source's body is; without it the body is JSON with the files"`
	Wait        time.Duration `env:"WAIT" default:"30s" min:"100ms" help:"time that a source is waited for the next version; etcd and a folder are read again after it, event or not"`
	Poll        time.Duration `env:"POLL_INTERVAL" default:"10s" min:"10ms" help:"time between two questions to an HTTP source that does not wait"`
	Timeout     time.Duration `env:"TIMEOUT" default:"10s" min:"10ms" help:"time for an answer of the source, and of the app"`
	RetryMin    time.Duration `env:"RETRY_MIN" default:"250ms" min:"1ms" help:"time until what failed is tried again; doubled each time, and a random part of it less"`
	RetryMax    time.Duration `env:"RETRY_MAX" default:"30s" min:"1ms" help:"most that it is doubled to"`
	MaxSize     env.Bytes     `env:"MAX_SIZE" default:"1MiB" min:"1KiB" max:"64MiB" help:"size of a version, all of its files"`
	MaxFiles    int           `env:"MAX_FILES" default:"100" min:"1" help:"files of a version"`

	TemplateDir string `env:"TEMPLATE_DIR" default:"" help:"folder with templates and other files that the app's files are made of; without it they are the source's own"`

	DestDir  string   `env:"DEST_DIR" default:"/config" help:"folder that the app reads, on a volume of both"`
	Switch   string   `env:"SWITCH" default:"folder" oneof:"folder|file|in-place" help:"how the app's files are replaced: all as one by a link, each by a rename, or by writing into them"`
	FileMode fileMode `env:"FILE_MODE" default:"0644" help:"rights of a new file; one that is replaced keeps its own, and its owner"`
	Keep     int      `env:"KEEP" default:"2" min:"1" help:"versions to go back to"`

	CheckCommand command       `env:"CHECK_COMMAND" default:"" help:"command that must exit 0 before a version is applied; {dir} is the folder with its files; no shell reads it"`
	CheckTimeout time.Duration `env:"CHECK_TIMEOUT" default:"10s" min:"10ms" help:"time for it"`

	MinWait time.Duration `env:"MIN_WAIT" default:"200ms" min:"0s" help:"quiet time after a change before it is applied"`
	MaxWait time.Duration `env:"MAX_WAIT" default:"1s" min:"0s" help:"most that a change waits for quiet"`

	Tell          tellWay       `env:"TELL" default:"nobody" help:"how the app is told: a signal like SIGHUP, a URL that is POSTed to, or nobody"`
	TargetProcess []string      `env:"TARGET_PROCESS" default:"" help:"name of the process that is signalled: of its program, or in its command line; several, separated by commas: the first that is there"`
	TargetCommand expression    `env:"TARGET_COMMAND" default:"" help:"regular expression that its whole command line must match"`
	TargetPIDFile string        `env:"TARGET_PID_FILE" default:"" help:"file that has its number"`
	TargetAge     time.Duration `env:"TARGET_AGE" default:"1s" min:"0s" help:"time that it must have been there: one that has just started may not know of the signal"`
	TargetAll     bool          `env:"TARGET_ALL" default:"false" help:"signal all that are found, where more than one is an error else"`
	TargetFirst   bool          `env:"TARGET_FIRST" default:"false" help:"it may be process 1 of the namespace"`

	ConfirmURL      string        `env:"CONFIRM_URL" default:"" help:"URL of the app that tells which configuration it has; without it whoever was told is believed"`
	ConfirmText     string        `env:"CONFIRM_TEXT" default:"" help:"template of what the answer must have in it"`
	ConfirmTimeout  time.Duration `env:"CONFIRM_TIMEOUT" default:"5s" min:"10ms" help:"time until the answer has it; the app is told again then"`
	ConfirmAttempts int           `env:"CONFIRM_ATTEMPTS" default:"3" min:"1" help:"times that the app is told before it counts as having refused"`
	Rollback        bool          `env:"ROLLBACK" default:"false" help:"go back to the version before when the app has refused"`
	daemon.Config
}

// Check says what is wrong with settings that are right one by one.
func (c config) Check() error {
	var errs []error
	target := len(c.TargetProcess) > 0 || c.TargetCommand.Regexp != nil || c.TargetPIDFile != ""
	if c.Tell.signal != 0 && !target {
		errs = append(errs, fmt.Errorf("TELL=%s: to whom? set TARGET_PROCESS, TARGET_COMMAND or TARGET_PID_FILE", signalName(c.Tell.signal)))
	}
	if c.Tell.signal == 0 && target {
		errs = append(errs, errors.New("TARGET_…: nobody is signalled; set TELL=SIGHUP"))
	}
	if (c.ConfirmURL == "") != (c.ConfirmText == "") {
		errs = append(errs, errors.New("CONFIRM_URL and CONFIRM_TEXT: one needs the other"))
	}
	if c.Rollback && c.ConfirmURL == "" {
		errs = append(errs, errors.New("ROLLBACK=true: nobody says that the app has refused; set CONFIRM_URL and CONFIRM_TEXT"))
	}
	if c.RetryMax < c.RetryMin || c.MaxWait < c.MinWait {
		errs = append(errs, errors.New("RETRY_MAX and MAX_WAIT: not less than RETRY_MIN and MIN_WAIT"))
	}
	r := &Renderer{Env: environment}
	if _, err := template.New("CONFIRM_TEXT").Funcs(r.funcs(nil)).Parse(c.ConfirmText); err != nil {
		errs = append(errs, plain(err))
	}
	if c.SourceFile != "" && checkName(c.SourceFile) != nil {
		errs = append(errs, fmt.Errorf("SOURCE_FILE=%q: not the name of a file", c.SourceFile))
	}
	return errors.Join(errs...)
}

func (c config) limits() Limits { return Limits{Size: int(c.MaxSize), Files: c.MaxFiles} }

// source is the one that SOURCE names.
func (c config) source() (Source, error) {
	if c.Source.folder != "" {
		return &Folder{Path: c.Source.folder, Wait: c.Wait, Limits: c.limits()}, nil
	}
	tlsConfig := &tls.Config{}
	if c.SourceCA != "" {
		var err error
		if tlsConfig.RootCAs, err = pemfile.Pool(c.SourceCA); err != nil {
			return nil, fmt.Errorf("SOURCE_CA_PATH: %w", err)
		}
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: c.Timeout}).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: c.Timeout,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     time.Minute,
	}}
	if len(c.Source.endpoints) > 0 {
		return &Etcd{
			Client: &etcd.Client{Endpoints: c.Source.endpoints, HTTP: client, Timeout: c.Timeout, Most: c.limits().mostOf()},
			Prefix: c.Source.Path, Wait: c.Wait, Limits: c.limits(),
		}, nil
	}
	return &HTTP{
		URL: c.Source.URL, Client: client, Token: c.SourceToken, File: c.SourceFile,
		Wait: c.Wait, Poll: c.Poll, Timeout: c.Timeout, Limits: c.limits(),
	}, nil
}

// sidecar is all but what a process has.
func (c config) sidecar(log *slog.Logger) *Sidecar {
	return &Sidecar{
		Render: &Renderer{Dir: c.TemplateDir, Limits: c.limits(), Timeout: c.Timeout, Env: environment},
		Check:  &Check{Command: c.CheckCommand, Timeout: c.CheckTimeout},
		Place:  &Place{Dir: c.DestDir, Switch: c.Switch, Mode: fs.FileMode(c.FileMode), Limits: c.limits()},
		Teller: &Teller{
			Signal: c.Tell.signal, URL: c.Tell.url, All: c.TargetAll, Age: c.TargetAge,
			Target: procs.Selector{
				Names: c.TargetProcess, Command: c.TargetCommand.Regexp, PIDFile: c.TargetPIDFile, First: c.TargetFirst,
			},
			ConfirmURL: c.ConfirmURL, Confirm: c.ConfirmTimeout, Timeout: c.Timeout,
			Client: &http.Client{}, Table: procs.Table{}, Log: log,
		},
		MinWait: c.MinWait, MaxWait: c.MaxWait, RetryMin: c.RetryMin, RetryMax: c.RetryMax,
		ConfirmText: c.ConfirmText, ConfirmAttempts: c.ConfirmAttempts, RollBack: c.Rollback, Keep: c.Keep,
		Log: log,
	}
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	back, release := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(back, syscall.SIGUSR1)
	signal.Notify(release, syscall.SIGUSR2)
	defer signal.Stop(back)
	defer signal.Stop(release)
	source, err := cfg.source()
	if err != nil {
		return err
	}
	s := cfg.sidecar(p.Log)
	s.Ready, s.Metrics = p.Ready, newMetrics(p.Metrics)
	s.Back, s.Release = asked(ctx, back), asked(ctx, release)
	s.Source(cfg.Source.String())
	if err := s.Open(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Clean(cfg.DestDir), err)
	}
	p.Status(func() any { return s.Status() })
	p.Log.Info("following", "source", cfg.Source.String(), "folder", cfg.DestDir, "switch", cfg.Switch)
	f := &Follower{Source: source, RetryMin: cfg.RetryMin, RetryMax: cfg.RetryMax, New: s.Offer, Contact: s.Contact, Poke: p.Reload}
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	s.Run(ctx)
	<-done
	return nil
}

// asked makes wishes of signals.
func asked(ctx context.Context, signals <-chan os.Signal) <-chan struct{} {
	wishes := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			select {
			case <-ctx.Done():
				return
			case wishes <- struct{}{}:
			}
		}
	}()
	return wishes
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:     "config-sidecar",
		Summary:  "Config-sidecar brings configuration to an app that reads files: checked, switched as one, and told.",
		Run:      run,
		Commands: []daemon.Command{onceCommand, readCommand},
	}, os.Args[1:]))
}
