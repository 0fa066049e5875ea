package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary the program itself: signals and exit codes need a process.
const asProgram = "DICTIONARY_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

type logLine struct{ Msg, Address, Error string }

// program is one that runs.
type program struct {
	cmd        *exec.Cmd
	lines      <-chan logLine
	url, admin string
}

func command(vars ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append([]string{asProgram + "=1", "ADMIN_ADDR=127.0.0.1:0", "LISTEN_ADDR=127.0.0.1:0"}, vars...)
	return cmd
}

// begin starts the program and waits until it listens.
func begin(t *testing.T, vars ...string) *program {
	t.Helper()
	p := &program{cmd: command(vars...)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan logLine, 100)
	p.lines = lines
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			var line logLine
			json.Unmarshal(s.Bytes(), &line)
			lines <- line
		}
	}()
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	p.admin = p.await(t, "admin listening").Address
	p.url = "http://" + p.await(t, "listening").Address
	return p
}

// await is the next line with a message; "" reads all of the log.
func (p *program) await(t *testing.T, msg string) logLine {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok && msg != "" {
				t.Fatalf("ended without logging %q", msg)
			}
			if !ok || line.Msg == msg {
				return line
			}
		case <-deadline:
			t.Fatalf("did not log %q", msg)
		}
	}
}

func (p *program) ends(t *testing.T, code int) {
	t.Helper()
	p.await(t, "")
	if p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != code {
		t.Errorf("%s, want exit code %d", p.cmd.ProcessState, code)
	}
}

// From its start to its end: it listens before it can answer, and answers while it says that it is stopping.
func TestLife(t *testing.T) {
	p := begin(t, "LOAD_TIME=300ms", "LAME_DUCK=300ms", "DRAIN_TIMEOUT=10s", "TROUBLE=none")
	if resp, _ := ask(t, "GET", p.url+"/cat"); resp.StatusCode != 503 {
		t.Errorf("while it loads: %d", resp.StatusCode)
	}
	if resp, body := ask(t, "GET", p.url+"/readyz"); resp.StatusCode != 503 || strings.TrimSpace(body) != loading {
		t.Errorf("while it loads: %d %q", resp.StatusCode, body)
	}
	p.await(t, "loaded")
	if resp, _ := ask(t, "GET", p.url+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("loaded: %d", resp.StatusCode)
	}
	// By the command that an image without a shell has.
	cmd := exec.Command(os.Args[0], "trouble", "delay=1s", "path=/dog")
	cmd.Env = []string{asProgram + "=1", "ADMIN_ADDR=" + p.admin}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), `"delay":"1s"`) {
		t.Fatalf("%v: %s", err, out)
	}
	slow := make(chan string)
	go func() {
		resp, err := http.Get(p.url + "/dog")
		if err != nil {
			slow <- err.Error()
			return
		}
		resp.Body.Close()
		slow <- resp.Status
	}()
	for body := ""; !strings.Contains(body, "dictionary_in_flight 1"); {
		_, body = ask(t, "GET", "http://"+p.admin+"/metrics")
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.await(t, "draining")
	for body := ""; strings.TrimSpace(body) != stopping; {
		_, body = ask(t, "GET", p.url+"/readyz")
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://")) // somebody who does not know yet
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /cat HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Errorf("while it stops: %v, %v", resp, err)
	}
	if said := <-slow; said != "200 OK" {
		t.Errorf("what was under way: %s", said)
	}
	p.ends(t, 0)
}

func TestStopsWhileItLoads(t *testing.T) {
	p := begin(t, "LOAD_TIME=10m", "LAME_DUCK=0s")
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.ends(t, 0)
}

// A file of words is read again at SIGHUP; a bad one changes nothing.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("one\tnoun\tthe first\n")
	p := begin(t, "WORDS_PATH="+path, "LAME_DUCK=0s")
	p.await(t, "loaded")
	want := func(word string, status int) {
		t.Helper()
		if resp, _ := ask(t, "GET", p.url+"/"+word); resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", word, resp.StatusCode, status)
		}
	}
	want("one", 200)
	write("two\tnoun\tthe second\n")
	want("two", 404)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.await(t, "words loaded")
	want("two", 200)
	want("one", 404)
	write("no words\n")
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.await(t, "words refused")
	want("two", 200)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.ends(t, 0)
}

func TestStartFails(t *testing.T) {
	p := begin(t, "WORDS_PATH=/nowhere", "LAME_DUCK=0s")
	p.ends(t, 1)
	out, err := command("LAME_DUCK=10s", "TROUBLE=nonsense").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `TROUBLE="nonsense"`) {
		t.Errorf("%v: %s", err, out)
	}
	out, err = command("LAME_DUCK=10s").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "LAME_DUCK=10s: is not less than DRAIN_TIMEOUT") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTroubleCommand(t *testing.T) {
	p := begin(t, "LAME_DUCK=0s") // TROUBLE is off
	for want, args := range map[int][]string{
		1: {"trouble", "status=500"},
		2: {"trouble", "nonsense"},
	} {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = []string{asProgram + "=1", "ADMIN_ADDR=" + p.admin}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("%v: exit code %d, want %d: %s", args, code, want, out)
		}
	}
}
