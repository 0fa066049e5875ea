// Restarter ends a process whose health, asked over HTTP, has failed for too long; its container's restart policy starts
// it again.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"distlab/containers/internal/daemon"
)

type config struct {
	URL    probeURL `env:"LIVENESS_URL" help:"URL that tells whether the target is alive: 200 to 399 is alive, any other status is not"`
	Target []string `env:"TARGET_PROCESS" help:"name of the process to end: of its program, or in its command line; several, separated by commas: the first that is there"`

	InitialDelay     time.Duration `env:"INITIAL_DELAY" default:"0s" min:"0s" help:"time that a target gets before it is first asked"`
	Period           time.Duration `env:"PERIOD" default:"10s" min:"10ms" help:"time between two probes"`
	Timeout          time.Duration `env:"TIMEOUT" default:"1s" min:"1ms" help:"time for a probe"`
	FailureThreshold int           `env:"FAILURE_THRESHOLD" default:"3" min:"1" help:"probes in a row that must fail before the target is restarted"`
	StartupThreshold int           `env:"STARTUP_FAILURE_THRESHOLD" default:"30" min:"1" help:"the same for a target that was not seen alive since its start"`
	NoAnswer         string        `env:"NO_ANSWER" default:"unknown" oneof:"unknown|failure" help:"what no answer to a probe is: unknown says nothing of the target and restarts nobody"`

	StopSignal stopSignal    `env:"STOP_SIGNAL" default:"SIGTERM" help:"signal that asks the target to end"`
	Grace      time.Duration `env:"TERMINATION_GRACE_PERIOD" default:"30s" min:"0s" help:"time until SIGKILL follows"`

	Backoff      time.Duration `env:"BACKOFF" default:"10s" min:"0s" help:"least time from one restart to the next; doubled each time"`
	BackoffMax   time.Duration `env:"BACKOFF_MAX" default:"5m" min:"0s" help:"most that it is doubled to"`
	BackoffReset time.Duration `env:"BACKOFF_RESET" default:"10m" min:"0s" help:"time alive without a failure after which it begins anew"`
	HoldTime     time.Duration `env:"HOLD_TIME" default:"10m" min:"1s" help:"time for which SIGUSR1 keeps it from restarting anything; SIGUSR2 ends that"`
	daemon.Config
}

// Check finds settings that make no sense together.
func (cfg config) Check() error {
	switch {
	case len(cfg.Target) == 0:
		return errors.New("TARGET_PROCESS names nothing: the name of the server's process")
	case cfg.BackoffMax < cfg.Backoff:
		return fmt.Errorf("BACKOFF_MAX %v is less than BACKOFF %v: it is the most that this is doubled to", cfg.BackoffMax, cfg.Backoff)
	}
	return nil
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	switches := make(chan os.Signal, 1)
	signal.Notify(switches, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(switches)
	r := &Restarter{
		Probe:  (&Probe{URL: cfg.URL.String(), Timeout: cfg.Timeout, Silence: cfg.NoAnswer == "failure"}).Ask,
		Target: &Namespace{Names: cfg.Target},

		InitialDelay: cfg.InitialDelay, Period: cfg.Period,
		FailureThreshold: cfg.FailureThreshold, StartupThreshold: cfg.StartupThreshold,
		StopSignal: cfg.StopSignal.Signal, Grace: cfg.Grace,
		Backoff: cfg.Backoff, BackoffMax: cfg.BackoffMax, BackoffReset: cfg.BackoffReset,
		Log: p.Log, Ready: p.Ready, Metrics: newMetrics(p.Metrics),
	}
	r.Metrics.watch(p.Metrics, r)
	p.Status(func() any { return r.Status() })
	p.Log.Info("watching", "url", cfg.URL.Redacted(), "target", cfg.Target, "period_seconds", cfg.Period.Seconds(),
		"failure_threshold", cfg.FailureThreshold)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-switches:
				if sig == syscall.SIGUSR1 {
					r.Hold(cfg.HoldTime)
				} else {
					r.Hold(0)
				}
			}
		}
	}()
	r.Run(ctx)
	return nil
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "restarter",
		Summary: "Restarter ends a process whose health has failed for too long; its container's restart policy starts it again.",
		Run:     run,
	}, os.Args[1:]))
}
