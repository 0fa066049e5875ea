package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is the program itself.
type process struct {
	cmd   *exec.Cmd
	front string // URL
	admin string
	log   *lockedBuffer
}

// bins is where the program is compiled to.
var bins string

// built is the program, compiled once.
var built = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(bins, "splitter")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "splitter")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bins = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func startProcess(t *testing.T, vars ...string) *process {
	t.Helper()
	bin, err := built()
	check(t, err)
	front, admin := nobody(t), nobody(t)
	p := &process{
		cmd:   exec.Command(bin),
		front: "http://" + front, admin: "http://" + admin, log: &lockedBuffer{},
	}
	p.cmd.Env = append(vars, "LISTEN_ADDR="+front, "ADMIN_ADDR="+admin)
	p.cmd.Stderr, p.cmd.Stdout = p.log, p.log
	check(t, p.cmd.Start())
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	eventually(t, "ready: "+p.log.String(), func() bool {
		resp, err := http.Get(p.admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	return p
}

// load asks all the time until stop, and returns how often each answer came.
func (p *process) load(t *testing.T, stop <-chan struct{}) func() map[string]int {
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for range 4 {
		c := client(t)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				answer := ""
				resp, err := c.Get(p.front)
				if err != nil {
					answer = err.Error()
				} else {
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					answer = string(body)
					if err != nil || resp.StatusCode != 200 {
						answer = fmt.Sprint(resp.Status, err)
					}
				}
				mu.Lock()
				answers[answer]++
				mu.Unlock()
			}
		})
	}
	return func() map[string]int { wg.Wait(); return answers }
}

// The file changes under load, an arm is stopped, the process is told to
// reload and to end: no request fails.
func TestProcess(t *testing.T) {
	a, b := startArm(t, "production", nil), startArm(t, "experiment", nil)
	path := filepath.Join(t.TempDir(), "arms")
	write := func(production, experiment int) {
		check(t, os.WriteFile(path, fmt.Appendf(nil, "production=http://%s weight=%d\nexperiment=http://%s weight=%d\n", a.addr, production, b.addr, experiment), 0o644))
	}
	write(1, 0)
	p := startProcess(t, "ARMS_PATH="+path, "WATCH_INTERVAL=1h", "DRAIN_TIMEOUT=10s", "FALLBACK=true")
	stop := make(chan struct{})
	wait := p.load(t, stop)
	eventually(t, "requests", func() bool { return a.seen.Load() > 20 })
	if b.seen.Load() != 0 {
		t.Errorf("the experiment saw %d", b.seen.Load())
	}
	write(1, 1)
	check(t, p.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, "the experiment is asked", func() bool { return b.seen.Load() > 20 })
	b.stop()
	n := a.seen.Load()
	eventually(t, "production goes on", func() bool { return a.seen.Load() > n+100 })
	close(stop)
	for answer, n := range wait() {
		if answer != "production" && answer != "experiment" {
			t.Errorf("%d times %s", n, answer)
		}
	}
	check(t, p.cmd.Process.Signal(syscall.SIGTERM))
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, p.log.String())
	}
}

// Idle, the process takes less than its 15 MB.
func TestIdleMemory(t *testing.T) {
	p := startProcess(t, "ARMS=production=http://"+startArm(t, "a", nil).addr)
	var resident float64
	eventually(t, "at most 15 MB", func() bool {
		_, text := ask(t, "GET", p.admin+"/metrics", "", "")
		for line := range strings.Lines(text) {
			fmt.Sscanf(line, "process_resident_memory_bytes %g", &resident)
		}
		time.Sleep(50 * time.Millisecond)
		return resident > 0 && resident <= 15e6
	})
	t.Logf("%.1f MB", resident/1e6)
}
