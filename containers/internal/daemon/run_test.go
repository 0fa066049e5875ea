package daemon

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestShutdownLosesNothing goes through the whole of a shutdown with a request
// in flight, and with the signals that must not change it.
func TestShutdownLosesNothing(t *testing.T) {
	c := start(t, "http")
	address := c.log("listening", 1)["address"].(string)
	if c.log("ready", 1)["startup_seconds"].(float64) <= 0 {
		t.Error("no start-up time")
	}
	if code, body := get(t, c.admin()+"/readyz"); code != 200 || body != "ok" {
		t.Errorf("before: /readyz is %d %q", code, body)
	}

	type reply struct {
		body string
		err  error
	}
	hung := make(chan reply, 1)
	go func() {
		resp, err := client.Get("http://" + address + "/hang")
		if err != nil {
			hung <- reply{err: err}
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		hung <- reply{string(body), err}
	}()
	c.log("hanging", 1)

	c.signal(syscall.SIGTERM)
	c.log("draining", 1)
	refused(t, address)
	if code, body := get(t, c.admin()+"/readyz"); code != 503 || body != "draining" {
		t.Errorf("draining: /readyz is %d %q", code, body)
	}
	if code, _ := get(t, c.admin()+"/livez"); code != 200 {
		t.Errorf("draining: /livez is %d", code)
	}
	post(t, c.admin()+"/ready") // the program says that it is ready again
	if code, _ := get(t, c.admin()+"/readyz"); code != 503 {
		t.Errorf("draining: /readyz is %d after Ready(true)", code)
	}
	c.signal(syscall.SIGTERM)
	c.log("already draining", 1)
	c.signal(syscall.SIGINT)
	c.log("already draining", 2)
	c.signal(syscall.SIGHUP)
	c.log("reload ignored", 1)

	post(t, c.admin()+"/release")
	if got := <-hung; got.err != nil || got.body != "whole\n" {
		t.Errorf("the request in flight got %q, %v", got.body, got.err)
	}
	if code := c.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if c.log("stopped", 1)["drain_seconds"] == nil {
		t.Error("no drain time")
	}
}

// refused waits until nobody accepts on the address.
func refused(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			conn.Close()
		}
	}
	t.Fatalf("%s still accepts", address)
}

func TestDrainCut(t *testing.T) {
	c := start(t, "http", "DRAIN_TIMEOUT=50ms")
	address := c.log("listening", 1)["address"].(string)
	hung := make(chan error, 1)
	go func() {
		_, err := client.Get("http://" + address + "/hang")
		hung <- err
	}()
	c.log("hanging", 1)
	c.signal(syscall.SIGTERM)
	if code := c.exit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	want := "serve " + address + ": drain cut after 50ms"
	if got := c.log("drain cut", 1)["error"]; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if err := <-hung; err == nil {
		t.Error("the request that was cut got an answer")
	}
}

// A Run that does not heed ctx must not keep the container until SIGKILL.
func TestDeafRunIsLeftBehind(t *testing.T) {
	c := start(t, "deaf", "DRAIN_TIMEOUT=0s")
	c.log("ready", 1)
	c.signal(syscall.SIGINT)
	if code := c.exit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	c.log("drain cut", 1)
}

func TestReload(t *testing.T) {
	c := start(t, "http")
	c.log("ready", 1)
	c.signal(syscall.SIGHUP)
	c.log("reloaded", 1)
	c.signal(syscall.SIGHUP)
	c.log("reloaded", 2)
	c.signal(syscall.SIGTERM)
	if code := c.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Whoever has nothing to reload never reads Reload: SIGHUP must be harmless.
func TestHangupIsNeverDeath(t *testing.T) {
	c := start(t, "deaf")
	c.log("ready", 1)
	for range 50 {
		c.signal(syscall.SIGHUP)
	}
	if code, _ := get(t, c.admin()+"/readyz"); code != 200 {
		t.Errorf("/readyz is %d", code)
	}
}

// A burst of SIGHUP must not push out the SIGTERM behind it.
func TestTermAfterBurstOfHangups(t *testing.T) {
	c := start(t, "http")
	c.log("ready", 1)
	for range 200 {
		c.signal(syscall.SIGHUP)
	}
	c.signal(syscall.SIGTERM)
	if code := c.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Who reads the logs may go away; the work goes on.
func TestLostLogReader(t *testing.T) {
	c := start(t, "http")
	admin := c.admin()
	c.log("ready", 1)
	c.stderr.Close()
	for range 3 { // each is a line in the log
		post(t, admin+"/ready?reason=cats")
		post(t, admin+"/ready")
	}
	if code, _ := get(t, admin+"/livez"); code != 200 {
		t.Errorf("/livez is %d", code)
	}
}

func TestExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for _, tt := range []struct {
		name, program string
		vars          []string
		code          int
		plain         string // all of stderr that is not JSON
		msg, error    string // of the last line
	}{
		{name: "bad settings", program: "http", vars: []string{"LINGER=x", "LOG_LEVEL=loud", "DRAIN_TIMEOUT=5"}, code: 2, plain: `LINGER="x": not a whole number
LOG_LEVEL="loud": not one of debug, info, warn, error
DRAIN_TIMEOUT="5": not a duration like 500ms or 10s`},
		{
			name: "contradictory settings", program: "http", vars: []string{"LINGER=13", "DRAIN_TIMEOUT=0s"}, code: 2,
			plain: "LINGER 13 lasts longer than DRAIN_TIMEOUT 0s: give it more",
		},
		{name: "admin port taken", program: "http", vars: []string{"ADMIN_ADDR=" + addr}, code: 1, msg: "start failed", error: "listen tcp " + addr + ": bind: address already in use"},
		{name: "port taken", program: "http", vars: []string{"LISTEN_ADDR=" + addr}, code: 1, msg: "start failed", error: "listen tcp " + addr + ": bind: address already in use"},
		{name: "error at start", program: "start", code: 1, msg: "start failed", error: "read the cat: no such cat"},
		{name: "error after start", program: "dies", code: 1, msg: "stopped by an error", error: "the cat left"},
		{name: "ends by itself", program: "done", code: 0, msg: "stopped"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, tt.program, tt.vars...)
			if code := c.exit(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if got := strings.Join(c.plain, "\n"); got != tt.plain {
				t.Errorf("stderr\n%s\nwant\n%s", got, tt.plain)
			}
			if tt.msg == "" {
				return
			}
			last := c.lines[len(c.lines)-1]
			if got, _ := last["error"].(string); last["msg"] != tt.msg || got != tt.error {
				t.Errorf("last line %v, want %q %q", last, tt.msg, tt.error)
			}
		})
	}
}

func TestLogLevel(t *testing.T) {
	c := start(t, "done", "LOG_LEVEL=error")
	c.exit()
	if len(c.lines) != 0 {
		t.Errorf("logged %v", c.lines)
	}
}
