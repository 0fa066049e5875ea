package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"distlab/containers/internal/env"
)

// healthTimeout is below the --timeout=2s of the Dockerfiles' HEALTHCHECK, so
// that the reason is ours and not "exceeded timeout".
const healthTimeout = 1500 * time.Millisecond

// healthConfig is all that the health command reads: it runs beside a program
// whose other settings are none of its business.
type healthConfig struct {
	AdminAddr env.Addr `env:"ADMIN_ADDR" default:":9090" help:"address of the admin port"`
}

// health asks the admin port of this container's program whether it is ready,
// and prints the answer: `docker inspect` shows it.
func (prog *program) health() int {
	var cfg healthConfig
	if err := env.Load(&cfg, prog.lookup); err != nil {
		fmt.Fprintln(prog.stderr, err)
		return exitUsage
	}
	if err := askReady(cfg.AdminAddr); err != nil {
		fmt.Fprintln(prog.stdout, err)
		return exitFailed
	}
	fmt.Fprintln(prog.stdout, "ready")
	return exitOK
}

func askReady(addr env.Addr) error {
	if addr.Port() == 0 {
		return fmt.Errorf("health: ADMIN_ADDR %s: the port is not known", addr)
	}
	client := &http.Client{
		Timeout: healthTimeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialLocal(ctx, string(addr))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Get("http://admin/readyz")
	if err != nil {
		return fmt.Errorf("health: %w", errors.Unwrap(err)) // without the made-up URL
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	switch {
	case err != nil:
		return fmt.Errorf("health: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// dialLocal dials a listen address of this host. One that listens everywhere
// is asked on loopback, IPv4 first.
func dialLocal(ctx context.Context, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	hosts := []string{host}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var conn net.Conn
	var errs []error
	for _, host := range hosts {
		var d net.Dialer
		if conn, err = d.DialContext(ctx, "tcp", net.JoinHostPort(host, port)); err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errs[0]
}
