package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// keep watches the certificates of a sidecar as the program does.
func keep(t *testing.T, s *sidecar, k Keeping) {
	t.Helper()
	k.Watch = true
	go s.Certificates.Keep(t.Context(), k)
}

// fresh makes the content of a new pair.
func fresh(names ...string) (cert, key []byte, serial string) {
	cert, key = serverCA.issue(nil, names...)
	return cert, key, must(newPair(cert, key)).serial()
}

// TestWatch goes through the ways in which files are rotated. Each must be
// seen with the kernel's notifications and without.
func TestWatch(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, path string, text []byte) {
		t.Helper()
		check(t, os.WriteFile(path, text, 0o600))
	}
	ways := map[string]func(t *testing.T, dir string, cert, key []byte){
		"written in place": func(t *testing.T, dir string, cert, key []byte) {
			write(t, filepath.Join(dir, "tls.crt"), cert)
			write(t, filepath.Join(dir, "tls.key"), key)
		},
		"renamed over": func(t *testing.T, dir string, cert, key []byte) {
			check(t, writePair(PairFiles{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}, cert, key))
		},
		"removed and made": func(t *testing.T, dir string, cert, key []byte) {
			check(t, os.Remove(filepath.Join(dir, "tls.crt")))
			check(t, os.Remove(filepath.Join(dir, "tls.key")))
			write(t, filepath.Join(dir, "tls.crt"), cert)
			write(t, filepath.Join(dir, "tls.key"), key)
		},
		"directory replaced": func(t *testing.T, dir string, cert, key []byte) {
			check(t, os.RemoveAll(dir+".old"))
			check(t, os.Rename(dir, dir+".old"))
			check(t, os.Mkdir(dir, 0o700))
			write(t, filepath.Join(dir, "tls.crt"), cert)
			write(t, filepath.Join(dir, "tls.key"), key)
		},
		"old times": func(t *testing.T, dir string, cert, key []byte) {
			for name, text := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
				path := filepath.Join(dir, name)
				info := must(os.Stat(path))
				write(t, path, text)
				check(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
			}
		},
	}
	for name, rotate := range ways {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "certs")
			check(t, os.Mkdir(dir, 0o700))
			files, _ := writePairFiles(t, dir, "localhost")
			watchAndRotate(t, files, func(cert, key []byte) { rotate(t, dir, cert, key) })
		})
	}
	t.Run("through a link", func(t *testing.T) {
		dir, real := t.TempDir(), t.TempDir()
		target, _ := writePairFiles(t, real, "localhost")
		files := PairFiles{filepath.Join(dir, "cert"), filepath.Join(dir, "key")}
		check(t, os.Symlink(target.Cert, files.Cert))
		check(t, os.Symlink(target.Key, files.Key))
		watchAndRotate(t, files, func(cert, key []byte) {
			write(t, target.Cert, cert)
			write(t, target.Key, key)
		})
	})
	t.Run("Kubernetes", func(t *testing.T) {
		// tls.crt -> ..data/tls.crt, ..data -> ..v1; the latter is swapped.
		dir := t.TempDir()
		put := func(version string, cert, key []byte) {
			check(t, os.Mkdir(filepath.Join(dir, version), 0o700))
			write(t, filepath.Join(dir, version, "tls.crt"), cert)
			write(t, filepath.Join(dir, version, "tls.key"), key)
			check(t, os.Symlink(version, filepath.Join(dir, "..tmp")))
			check(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
		}
		cert, key, _ := fresh("localhost")
		put("..v1", cert, key)
		files := PairFiles{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
		check(t, os.Symlink("..data/tls.crt", files.Cert))
		check(t, os.Symlink("..data/tls.key", files.Key))
		n := 1
		watchAndRotate(t, files, func(cert, key []byte) {
			n++
			put(fmt.Sprintf("..v%d", n), cert, key)
			check(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..v%d", n-1))))
		})
	})
}

// watchAndRotate rotates twice: a watch may survive the first time only.
func watchAndRotate(t *testing.T, files PairFiles, rotate func(cert, key []byte)) {
	for name, every := range map[string]time.Duration{
		"told by the kernel": time.Hour,
		"looking":            20 * time.Millisecond,
	} {
		// A directory that was replaced is not told of: its watch went with it.
		if every == time.Hour && strings.Contains(t.Name(), "directory_replaced") {
			continue
		}
		app := startWireApp(t)
		s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files = []PairFiles{files} })
		w := &Watch{
			Files: s.Certificates.watched, Known: s.Certificates.loaded, Interval: every, Settle: 20 * time.Millisecond,
			Changed: func() { s.Certificates.Reload("change") },
		}
		w.deaf = every != time.Hour
		go w.Run(t.Context())
		for range 2 {
			cert, key, serial := fresh("localhost")
			rotate(cert, key)
			eventually(t, name+": the new certificate is served", func() bool {
				return s.Certificates.Default() == serial
			})
		}
	}
}

// TestWatchIsQuiet: what does not change the files is not a reload.
func TestWatchIsQuiet(t *testing.T) {
	dir := t.TempDir()
	files, _ := writePairFiles(t, dir, "localhost")
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files = []PairFiles{files} })
	keep(t, s, Keeping{Every: 10 * time.Millisecond})
	for i := range 20 {
		check(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o600))
	}
	// A change that counts, as the end of the wait for those that do not.
	cert, key, serial := fresh("localhost")
	check(t, writePair(files, cert, key))
	eventually(t, "reloaded", func() bool { return s.Certificates.Default() == serial })
	reloads := func() float64 {
		return s.metric(t, "reloads_total", "result=ok") + s.metric(t, "reloads_total", "result=error")
	}
	eventually(t, "counted", func() bool { return reloads() > 0 }) // it is served before it is counted
	if n := reloads(); n != 1 {
		t.Errorf("%v reloads, want 1", n)
	}
}

// TestWatchSettles: a pair that is written with a pause in the middle is read
// once, whole; files that are never still are read all the same.
func TestWatchSettles(t *testing.T) {
	t.Parallel()
	files, _ := writePairFiles(t, t.TempDir(), "localhost")
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files = []PairFiles{files} })
	w := &Watch{
		Files: s.Certificates.watched, Known: s.Certificates.loaded, Interval: 5 * time.Millisecond, Settle: 150 * time.Millisecond,
		Changed: func() { s.Certificates.Reload("change") },
	}
	go w.Run(t.Context())
	cert, key, serial := fresh("localhost")
	check(t, os.WriteFile(files.Key, key, 0o600))
	<-time.After(50 * time.Millisecond) // the pause
	check(t, os.WriteFile(files.Cert, cert, 0o600))
	eventually(t, "reloaded", func() bool { return s.Certificates.Default() == serial })
	if n := s.metric(t, "reloads_total", "result=error"); n != 0 {
		t.Errorf("read half-way %v times", n)
	}
	busy := time.NewTicker(20 * time.Millisecond)
	defer busy.Stop()
	eventually(t, "reloaded while the file is never still", func() bool {
		<-busy.C
		check(t, os.WriteFile(files.Cert, append(cert, fmt.Sprint(time.Now())...), 0o600))
		return s.metric(t, "reloads_total", "result=ok") > 1
	})
}

// TestWatchBadThenReverted: a bad pair is reported, and its revert to the
// exact last good content clears the report.
func TestWatchBadThenReverted(t *testing.T) {
	files, serial := writePairFiles(t, t.TempDir(), "localhost")
	good := must(os.ReadFile(files.Cert))
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files = []PairFiles{files} })
	keep(t, s, Keeping{Every: 10 * time.Millisecond})
	last := func() Reloaded { _, _, last, _ := s.Certificates.status(); return last }
	check(t, os.WriteFile(files.Cert, good[:len(good)/2], 0o600))
	eventually(t, "refused", func() bool { return !last().OK && last().KeptSerial == serial })
	check(t, os.WriteFile(files.Cert, good, 0o600))
	eventually(t, "cleared", func() bool { return last().OK })
	if got := s.serial(t, tlsConfig()); got != serial {
		t.Errorf("serial %s, want %s", got, serial)
	}
}

// TestWatchClientCA: the client CA is watched as the pairs are.
func TestWatchClientCA(t *testing.T) {
	clients, others := newAuthority("clients"), newAuthority("others")
	app := startTCPApp(t, echo)
	s := start(t, app, inTCPMode(func(p *Proxy) {
		withClientCA(t, p.Certificates, clients, tls.RequireAndVerifyClientCert, Access{All: true})
	}))
	keep(t, s, Keeping{Every: 10 * time.Millisecond})
	check(t, os.WriteFile(s.Certificates.ClientCA, others.pem(), 0o644))
	config := tlsConfig()
	config.Certificates = []tls.Certificate{others.client(nil)}
	eventually(t, "the new CA's clients are let in", func() bool { return pings(s, config) })
}

// TestSignal: a reload on demand, without a watch.
func TestSignal(t *testing.T) {
	files, before := writePairFiles(t, t.TempDir(), "localhost")
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files = []PairFiles{files} })
	demand := make(chan struct{})
	go s.Certificates.Keep(t.Context(), Keeping{Reload: demand, Every: time.Millisecond})
	_, after := writePairFiles(t, filepath.Dir(files.Cert), "localhost")
	if got := s.Certificates.Default(); got != before {
		t.Errorf("serial %s before the demand, want %s", got, before)
	}
	demand <- struct{}{}
	eventually(t, "reloaded", func() bool { return s.Certificates.Default() == after })
}

// TestExitOnChange: exit is for good new content only.
func TestExitOnChange(t *testing.T) {
	t.Parallel()
	files, before := writePairFiles(t, t.TempDir(), "localhost")
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files = []PairFiles{files} })
	var exits atomic.Int32
	keep(t, s, Keeping{Every: 10 * time.Millisecond, Exit: func() { exits.Add(1) }})
	good := must(os.ReadFile(files.Cert))
	check(t, os.WriteFile(files.Cert, good, 0o600)) // the same again
	<-time.After(400 * time.Millisecond)            // time enough to be wrong
	if exits.Load() != 0 {
		t.Error("exited for the same content")
	}
	check(t, os.WriteFile(files.Cert, []byte("half"), 0o600))
	eventually(t, "refused", func() bool { _, _, last, _ := s.Certificates.status(); return !last.OK })
	if exits.Load() != 0 {
		t.Error("exited for a bad pair")
	}
	writePairFiles(t, filepath.Dir(files.Cert), "localhost")
	eventually(t, "exit", func() bool { return exits.Load() == 1 })
	if got := s.Certificates.Default(); got != before {
		t.Errorf("serial %s, want the old %s until the end", got, before)
	}
}

// TestRotationUnderLoad: twenty rotations, one of them bad, while clients ask
// on old connections and on new ones. No request fails, and the first
// connection after a rotation sees the new serial.
func TestRotationUnderLoad(t *testing.T) {
	dir := t.TempDir()
	files, _ := writePairFiles(t, dir, "localhost")
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	s := start(t, app, func(p *Proxy) { p.Certificates.Files = []PairFiles{files} })

	stop := make(chan struct{})
	var asked, failed atomic.Int64
	var first atomic.Value
	done := make(chan struct{}, 8)
	for i := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			c := s.client(t, 1+i%2, nil)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Get(s.url("/"))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err != nil || resp.StatusCode != 200 {
					first.CompareAndSwap(nil, fmt.Sprint(resp, err))
					failed.Add(1)
				}
				asked.Add(1)
				if i >= 4 && n%3 == 0 {
					c.CloseIdleConnections()
				}
			}
		}()
	}
	for i := range 20 {
		at := asked.Load()
		if i == 10 {
			check(t, os.WriteFile(files.Key, []byte("half"), 0o600))
			if _, err := s.Certificates.Reload("test"); err == nil {
				t.Error("a bad pair was accepted")
			}
			continue
		}
		_, serial := writePairFiles(t, dir, "localhost")
		if _, err := s.Certificates.Reload("test"); err != nil {
			t.Error(err)
		}
		if got := s.serial(t, tlsConfig()); got != serial {
			t.Errorf("rotation %d: serial %s, want %s", i, got, serial)
		}
		eventually(t, "more requests", func() bool { return asked.Load() > at+20 })
	}
	close(stop)
	for range 8 {
		<-done
	}
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, first: %v", failed.Load(), asked.Load(), first.Load())
	}
}
