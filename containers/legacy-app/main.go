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
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/whole"
)

type config struct {
	ListenAddr   env.Addr  `env:"LISTEN_ADDR" default:"127.0.0.1:8080" help:"address to serve HTTP/1.1 on"`
	SettingsPath string    `env:"SETTINGS_PATH" default:"" help:"file with the site's texts and limits, read again on SIGHUP; built-in ones without it"`
	PIDFile      string    `env:"PID_FILE" default:"" help:"file that the process's number is written to, once it heeds SIGHUP; none without it"`
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
	if cfg.PIDFile != "" {
		if err := whole.Write(cfg.PIDFile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
			return fmt.Errorf("PID file: %w", err)
		}
		defer os.Remove(cfg.PIDFile)
	}
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
		Commands: []daemon.Command{
			{Name: "check", Summary: "read a settings file: check FILE exits 0 if it is good, 1 if not", Run: check},
			{Name: "install", Summary: "copy the program: install FOLDER, for who wants to run check beside it", Run: install},
		},
	}, os.Args[1:]))
}

// check is what nginx -t and apachectl configtest are to those.
func check(_ context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "legacy-app: check FILE")
		return 2
	}
	if _, _, err := ReadSettings(args[0]); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintln(stdout, "good")
	return 0
}

// install lets another container run the program: an image without a shell has nothing else to copy it with.
func install(_ context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "legacy-app: install FOLDER")
		return 2
	}
	self, err := os.Executable()
	var program []byte
	if err == nil {
		program, err = os.ReadFile(self)
	}
	path := filepath.Join(args[0], "legacy-app")
	if err == nil {
		err = whole.Write(path, program, 0o755)
	}
	if err != nil {
		fmt.Fprintf(stderr, "legacy-app: install: %v\n", err)
		return 1
	}
	fmt.Fprintln(stdout, path)
	return 0
}
