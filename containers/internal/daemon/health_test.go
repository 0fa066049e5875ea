package daemon

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"distlab/containers/internal/env"
)

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// health asks with the real command line, and is its exit code and output.
func health(adminAddr string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	prog := newProgram(testProgram("http"))
	prog.stdout, prog.stderr = &out, &errs
	prog.lookup = func(name string) (string, bool) {
		// Whatever else is set, and badly, is not the health command's.
		return map[string]string{"ADMIN_ADDR": adminAddr, "LINGER": "x", "DRAIN_TIMEOUT": "x"}[name], true
	}
	code = prog.main([]string{"health"})
	return code, strings.TrimSpace(out.String()), strings.TrimSpace(errs.String())
}

func TestHealth(t *testing.T) {
	p, _ := newTestProcess(time.Hour)
	address := serve(t, p)
	_, port, _ := net.SplitHostPort(address)
	if code, out, _ := health(address); code != 1 || out != "503 Service Unavailable: starting" {
		t.Errorf("starting: %d %q", code, out)
	}
	p.Ready(true, "")
	for _, host := range []string{"", "127.0.0.1", "0.0.0.0", "[::]", "localhost"} {
		if code, out, _ := health(host + ":" + port); code != 0 || out != "ready" {
			t.Errorf("%s:PORT: %d %q", host, code, out)
		}
	}
	p.Ready(false, "the cats left")
	if code, out, _ := health(address); code != 1 || out != "503 Service Unavailable: the cats left" {
		t.Errorf("unready: %d %q", code, out)
	}
}

func TestHealthWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() }) // after the parallel subtests
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tt := range []struct {
		name, addr string
		code       int
		says       string // a part of the output
	}{
		{"nobody listens", closed.Addr().String(), 1, "connection refused"},
		{"nobody answers", silent.Addr().String(), 1, "Client.Timeout exceeded"},
		{"port 0", "127.0.0.1:0", 1, "the port is not known"},
		{"bad address", "9090", 2, `ADMIN_ADDR="9090": not a listen address`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			code, out, errs := health(tt.addr)
			if code != tt.code || !strings.Contains(out+errs, tt.says) {
				t.Errorf("%d %q %q, want %d and %q", code, out, errs, tt.code, tt.says)
			}
			if took := time.Since(begin); took > healthTimeout+time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// The command finds the program beside it from the same environment.
func TestHealthBesideTheProgram(t *testing.T) {
	c := start(t, "http")
	c.log("ready", 1)
	address := c.log("admin listening", 1)["address"].(string)
	cmd := exec.Command(os.Args[0], "health")
	cmd.Env = []string{asProgram + "=http", "ADMIN_ADDR=" + address}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "ready\n" {
		t.Errorf("%v, %q", err, out)
	}
}

func TestDialLocalPrefersWhatIsNamed(t *testing.T) {
	// On the address that is named and not on loopback's other ones.
	ln, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	conn, err := dialLocal(t.Context(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if conn, err := dialLocal(t.Context(), "127.0.0.1:"+port); err == nil {
		conn.Close()
		t.Error("127.0.0.1 reaches a listener on 127.0.0.2")
	}
}

// The default of ADMIN_ADDR is written twice, in Config and in healthConfig.
func TestHealthHasTheDefaultOfTheDaemon(t *testing.T) {
	var daemonCfg Config
	var healthCfg healthConfig
	none := func(string) (string, bool) { return "", false }
	if err := errors.Join(env.Load(&daemonCfg, none), env.Load(&healthCfg, none)); err != nil {
		t.Fatal(err)
	}
	if daemonCfg.AdminAddr != healthCfg.AdminAddr {
		t.Errorf("the daemon listens on %s, health asks %s", daemonCfg.AdminAddr, healthCfg.AdminAddr)
	}
}
