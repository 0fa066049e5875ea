package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain: with CONFIG_API_TEST set the test's binary is the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("CONFIG_API_TEST") != "" {
		main()
	}
	os.Exit(m.Run())
}

func newStore(path string) *Store {
	return &Store{Path: path, MaxSize: 4096, MaxFiles: 4, MaxConfigs: 3, History: 100, Size: 10000}
}

func text(s string) func(*Version) (Files, error) {
	return func(*Version) (Files, error) { return Files{"a": s}, nil }
}

func anyway(*Version) bool { return true }

// TestBounds: the oldest versions make room, whichever configuration has them; the newest of each stays.
func TestBounds(t *testing.T) {
	s := newStore("")
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Change("quiet", "", anyway, text(strings.Repeat("q", 1000))); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, _, err := s.Change("busy", "", anyway, text(fmt.Sprintf("%d%s", i, strings.Repeat("b", 900)))); err != nil {
			t.Fatal(err)
		}
		if n := s.bytes(); n > s.Size {
			t.Fatalf("%d bytes after %d changes", n, i)
		}
	}
	if _, _, err := s.Get("quiet", 1); err != nil {
		t.Errorf("the only version of another one: %v", err)
	}
	list, err := s.Versions("busy")
	if err != nil || len(list) < 8 || list[0].Version != 50 {
		t.Errorf("%d versions, %v", len(list), err)
	}
	s.History = 3
	if _, _, err := s.Change("busy", "", anyway, text("x")); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.Versions("busy"); len(list) != 3 {
		t.Errorf("%d versions where 3 are kept", len(list))
	}
	// What would not fit beside the newest of the others is refused, and nothing of it happens.
	for _, name := range []string{"quiet", "busy", "third"} {
		if _, _, err := s.Change(name, "", anyway, text(strings.Repeat("t", 3900))); (err != nil) != (name == "third") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFile: what is in the file comes back; a file that is none is left alone.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "configs.json")
	s := newStore(path)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	v, _, err := s.Change("shop", "why", anyway, text("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".new-configs.json.77"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := newStore(path)
	if err := again.Open(); err != nil {
		t.Fatal(err)
	}
	if got, _, err := again.Get("shop", 0); err != nil || got.ETag() != v.ETag() || string(got.doc) != string(v.doc) {
		t.Errorf("%+v %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".new-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	for _, bad := range []string{
		"", "{", "<html>", `{"format":2}`, `{"format":1,"configs":{"shop":[]}}`, `{"format":1,"configs":{"shop":[null]}}`,
		`{"format":1,"configs":{"../x":[{"version":1}]}}`, `{"format":1,"configs":{"shop":[{"version":2},{"version":1}]}}`,
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := newStore(path).Open(); err == nil {
			t.Errorf("%q is taken", bad)
		}
		if text, _ := os.ReadFile(path); string(text) != bad {
			t.Errorf("%q was overwritten", bad)
		}
	}
	if err := newStore(filepath.Join(path, "x")).Open(); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

// TestNotKept: a change that cannot be written is not made, and nobody has seen it.
func TestNotKept(t *testing.T) {
	dir := t.TempDir()
	s := newStore(filepath.Join(dir, "configs.json"))
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Change("shop", "", anyway, text("a")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Change("shop", "", anyway, text("b")); err == nil {
		t.Error("no error")
	}
	if v, changed, err := s.Get("shop", 0); err != nil || v.Files["a"] != "a" {
		t.Errorf("%+v %v", v, err)
	} else {
		select {
		case <-changed:
			t.Error("who waits was told")
		default:
		}
	}
}

// TestKill: what was answered survives SIGKILL, whatever is going on, and the file is whole.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "configs.json")
	acked := 0
	for round := range 4 {
		url, cmd := program(t, "DATA_PATH="+path)
		killed := make(chan struct{})
		begin := acked
		time.AfterFunc(time.Duration(20+15*round)*time.Millisecond, func() { cmd.Process.Kill(); close(killed) })
		for {
			body := fmt.Sprintf(`{"files":{"n":"%d","fill":%q}}`, acked+1, strings.Repeat("f", 20000))
			req, _ := http.NewRequest("PUT", url+"/configs/shop", strings.NewReader(body))
			req.Header.Set("Authorization", "Bearer w")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				break
			}
			resp.Body.Close()
			if resp.StatusCode > 201 {
				t.Fatal(resp.Status)
			}
			acked++
		}
		<-killed
		s := &Store{Path: path, MaxSize: 1 << 20, MaxFiles: 10, MaxConfigs: 10, History: 50, Size: 32 << 20}
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		if acked == 0 {
			continue // it was quicker than the first change
		}
		v, _, err := s.Get("shop", 0)
		if err != nil {
			t.Fatal(err)
		}
		// The one that was under way may be there or not.
		if n := v.Files["n"]; n != fmt.Sprint(acked) && n != fmt.Sprint(acked+1) || len(v.Files["fill"]) != 20000 {
			t.Errorf("round %d: %d changes were answered (%d now), and the newest is %s", round, acked, acked-begin, n)
		}
		if v.Files["n"] == fmt.Sprint(acked+1) {
			acked++
		}
	}
	if acked == 0 {
		t.Error("not one change was made")
	}
}

// program runs the program, and gives its URL.
func program(t *testing.T, vars ...string) (url string, cmd *exec.Cmd) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append([]string{"CONFIG_API_TEST=1", "ADMIN_ADDR=127.0.0.1:0", "LISTEN_ADDR=127.0.0.1:0", "WRITE_TOKEN=w"}, vars...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var seen []string
	for log := bufio.NewScanner(stderr); log.Scan(); {
		var line struct{ Msg, Address string }
		if json.Unmarshal(log.Bytes(), &line) == nil && line.Msg == "listening" {
			go func() {
				for log.Scan() { // so that it never waits for a reader
				}
			}()
			return "http://" + line.Address, cmd
		}
		seen = append(seen, log.Text())
	}
	t.Fatalf("never listened:\n%s", strings.Join(seen, "\n"))
	return "", nil
}
