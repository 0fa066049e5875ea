// Tls-sidecar gives an app that speaks plain HTTP, or any protocol over TCP, a
// TLS front: it listens beside the app, in the same pod, takes TLS off, and
// passes what is inside on to the app's port on localhost.
//
// Why a sidecar: the app is old, or not ours, and is not to be touched. What
// changes with the years (versions and ciphers, certificates and their
// rotation, who may call) changes here. The app hears of it in headers.
//
//	SELF_SIGNED=true PROXY_PORT=8080 tls-sidecar &
//	curl -k https://localhost:8443/
//
// Source: the "adding HTTPS to a legacy web service" example of the sidecar
// chapter in Brendan Burns, Designing Distributed Systems; the features are
// those of ghostunnel (https://github.com/ghostunnel/ghostunnel), hitch
// (https://hitch-tls.org) and nginx's ngx_http_ssl_module.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/forward"
)

const (
	name    = "tls-sidecar"
	summary = "Tls-sidecar takes TLS off connections and passes what is inside on to an app on localhost."
)

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	ctx, stop := context.WithCancel(ctx) // ON_CHANGE=exit stops from within
	defer stop()
	pace(p.Fit(&cfg.MaxConnections, &cfg.MaxRequests, cost).Memory)
	metrics := NewMetrics(p.Metrics)
	certificates, err := cfg.certificates(p.Log, metrics)
	if err != nil {
		return err
	}
	proxy := cfg.proxy(certificates, p.Log, metrics)
	proxy.Loops = loopsToRun()
	app := &AppCheck{
		Dial:     func(ctx context.Context) (net.Conn, error) { return forward.Dial(ctx, proxy.Forward) },
		Interval: cfg.AppCheckInterval,
		Timeout:  cfg.ConnectTimeout,
		Log:      p.Log,
		Changed: func(ok bool, err error) {
			metrics.appIs(ok)
			p.Ready(ok, fmt.Sprintf("app: %v", err))
		},
	}
	proxy.AppFailed = func(error) { app.Kick() }

	ln, err := listen(ctx, string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Status(func() any { return cfg.status(ln.Addr(), proxy, app) })
	p.Log.Info("listening", "address", ln.Addr().String(), "mode", cfg.Mode, "forward", proxy.Forward,
		"serial", certificates.Default())
	go app.Run(ctx)
	go certificates.Keep(ctx, Keeping{
		Reload: p.Reload,
		Watch:  cfg.OnChange != "ignore",
		Every:  cfg.WatchInterval,
		Exit:   map[string]func(){"exit": stop}[cfg.OnChange],
	})
	return p.Serve(ctx, ln, proxy)
}

// loopsToRun is one for each processor. Go gets one more to run its goroutines
// on, handshakes above all, so that a loop under load may wait for its next event
// without giving up its own.
func loopsToRun() int {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return n
}

// listen does without multipath TCP: see lastcall. Keep-alive probes are set on
// the listener, from which the kernel hands them down: to set them on each
// connection takes four system calls.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: inherit}
	config.SetMultipathTCP(false)
	return config.Listen(ctx, "tcp", addr)
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:     name,
		Summary:  summary,
		Run:      run,
		Commands: []daemon.Command{newCert},
	}, os.Args[1:]))
}
