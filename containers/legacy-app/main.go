// Legacy-app is an old web shop that nobody dares to touch: the app that
// sidecars, ambassadors and adapters are put beside.
//
// It is honest about its age. It speaks HTTP/1.1 in the clear, on loopback
// unless told otherwise; it has never heard of TLS, of proxies or of
// X-Forwarded-For, and believes that who connects is who asks; it reads its
// texts from a file and reads the file again only when it gets a SIGHUP. And
// it tells exactly what reached it (/echo), so that a test can see what a
// container in front of it did to a request.
//
//	legacy-app &
//	curl -d hello 'http://127.0.0.1:8080/echo?a=1'
//
// Source: the "legacy web service" of the sidecar chapter in Brendan Burns,
// Designing Distributed Systems; /echo, /bytes and /slow are after
// httpbin (https://httpbin.org).
package main

import (
	"context"
	"net"
	"os"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	ListenAddr   env.Addr  `env:"LISTEN_ADDR" default:"127.0.0.1:8080" help:"address to serve HTTP/1.1 on"`
	SettingsPath string    `env:"SETTINGS_PATH" default:"" help:"file with the site's texts and limits, read again on SIGHUP; built-in ones without it"`
	DataDir      string    `env:"DATA_DIR" default:"" help:"folder for uploaded files; in memory without it"`
	UploadSpace  env.Bytes `env:"UPLOAD_SPACE" default:"16MiB" min:"1KiB" help:"space for all uploaded files; the oldest make room"`
	daemon.Config
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	site, err := OpenSite(cfg.SettingsPath)
	if err != nil {
		return err
	}
	files, err := OpenFiles(cfg.DataDir, int64(cfg.UploadSpace))
	if err != nil {
		return err
	}
	defer files.Close()
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	app := &App{Site: site, Files: files, Log: p.Log, Metrics: newMetrics(p.Metrics)}
	p.Status(func() any { return app.Version() })
	go reload(ctx, app, p)
	p.Log.Info("listening", "address", ln.Addr().String())
	p.Ready(true, "")
	return p.Serve(ctx, ln, app.Server())
}

// reload reads the settings file at every SIGHUP. A bad one changes nothing.
func reload(ctx context.Context, app *App, p *daemon.Process) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.Reload:
		}
		if err := app.Site.Reload(); err != nil {
			app.Metrics.reloads.WithLabelValues("refused").Inc()
			p.Log.Error("settings refused", "error", err)
			continue
		}
		app.Metrics.reloads.WithLabelValues("loaded").Inc()
		p.Log.Info("settings loaded", "path", app.Site.Path())
	}
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "legacy-app",
		Summary: "Legacy-app is an old web shop: HTTP/1.1 only, no idea of TLS or of proxies.",
		Run:     run,
	}, os.Args[1:]))
}
