package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// locked has the forge ask for a password, which changes when the test says so.
func locked(f *forge, password *string) {
	f.instead(func(w http.ResponseWriter, r *http.Request) bool {
		if user, pass, _ := r.BasicAuth(); user == "git" && pass == *password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		http.Error(w, "no", http.StatusUnauthorized)
		return true
	})
}

func TestPasswordIsReadAgain(t *testing.T) {
	f := newForge(t)
	password := "first"
	locked(f, &password)
	path := filepath.Join(t.TempDir(), "password")
	keep := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := follower(t, f, func(s *Syncer) { s.Remote.credentials = credentials{Username: "git", PasswordPath: path} })
	one := f.push(map[string]string{"a": "1"})
	fails(t, s, "PASSWORD_PATH")
	keep("first\n")
	round(t, s)
	serves(t, f, s, one)
	two := f.push(map[string]string{"a": "2"})
	password = "second"
	fails(t, s, "see USERNAME and PASSWORD_PATH")
	keep("second")
	round(t, s)
	serves(t, f, s, two)
	keep("")
	fails(t, s, "an empty file")
}

// A redirect is followed for the first question only, and takes no password to another host.
func TestRedirects(t *testing.T) {
	f := newForge(t)
	hash := f.push(map[string]string{"a": "1"})
	path := filepath.Join(t.TempDir(), "password")
	os.WriteFile(path, []byte("secret"), 0o600)
	leaked := ""
	f.instead(func(w http.ResponseWriter, r *http.Request) bool {
		leaked += r.Header.Get("Authorization")
		return false
	})
	for name, c := range map[string]struct {
		to  func(r *http.Request) string
		err string
	}{
		"moved":       {func(r *http.Request) string { return f.url + "/info/refs?" + r.URL.RawQuery }, ""},
		"not a repo":  {func(*http.Request) string { return f.url + "/login" }, "which is no repository"},
		"round about": {func(r *http.Request) string { return r.URL.RequestURI() }, "more than five redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := ""
			old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.Header.Get("Authorization")
				http.Redirect(w, r, c.to(r), http.StatusMovedPermanently)
			}))
			defer old.Close()
			at, _ := url.Parse(old.URL + "/old.git")
			at.Host = strings.Replace(at.Host, "127.0.0.1", "localhost", 1) // another host
			s := follower(t, f, func(s *Syncer) {
				s.Remote.URL = at
				s.Remote.credentials = credentials{Username: "git", PasswordPath: path}
			})
			if c.err != "" {
				fails(t, s, c.err)
			} else {
				round(t, s)
				serves(t, f, s, hash)
			}
			if asked == "" {
				t.Error("the host itself did not get the password")
			}
		})
	}
	if leaked != "" {
		t.Errorf("another host got %q", leaked)
	}
}

func TestHTTPS(t *testing.T) {
	f := newForge(t)
	hash := f.push(map[string]string{"a": "1"})
	plain, _ := url.Parse(f.url)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/down.git") {
			http.Redirect(w, r, f.url+"/info/refs?"+r.URL.RawQuery, http.StatusFound)
			return
		}
		out, _ := http.NewRequestWithContext(r.Context(), r.Method, "http://"+plain.Host+r.URL.RequestURI(), r.Body)
		out.Header, out.ContentLength = r.Header.Clone(), r.ContentLength
		resp, err := http.DefaultClient.Do(out)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		io.Copy(w, resp.Body)
	}))
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	at, _ := url.Parse(secure.URL + "/site.git")
	s := follower(t, f, func(s *Syncer) { s.Remote.URL = at })
	fails(t, s, "certificate")
	s.Remote.CAPath = ca
	fails(t, s, "CA_PATH")
	os.WriteFile(ca, []byte("nothing"), 0o644)
	fails(t, s, "has no certificate")
	os.WriteFile(ca, cert, 0o644)
	round(t, s)
	serves(t, f, s, hash)
	down, _ := url.Parse(secure.URL + "/down.git")
	s.Remote.URL = down
	fails(t, s, "from HTTPS to http")
}

// sshServer runs git-upload-pack for whoever has the key; hang lets it accept, and say nothing.
func sshServer(t *testing.T, f *forge, host ssh.Signer, client ssh.PublicKey, hang bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() == "git" && string(key.Marshal()) == string(client.Marshal()) {
			return nil, nil
		}
		return nil, errors.New("who are you")
	}}
	config.AddHostKey(host)
	serve := func(conn net.Conn) {
		defer conn.Close()
		if hang {
			io.Copy(io.Discard, conn)
			return
		}
		_, chans, reqs, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		for c := range chans {
			ch, requests, err := c.Accept()
			if err != nil {
				return
			}
			go func() {
				for r := range requests {
					r.Reply(r.Type == "exec", nil)
					if r.Type != "exec" {
						continue
					}
					cmd := exec.Command("sh", "-c", string(r.Payload[4:]))
					cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(f.bare), ch, ch.Stderr()
					in, _ := cmd.StdinPipe()
					go io.Copy(in, ch)
					cmd.Run()
					ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{0}))
					ch.Close()
				}
			}()
		}
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return ln.Addr().String()
}

func newKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func TestSSH(t *testing.T) {
	host, _ := newKey(t)
	other, _ := newKey(t)
	mine, private := newKey(t)
	_, stranger := newKey(t)
	for name, c := range map[string]struct {
		known ssh.Signer // nil: the file knows nobody
		key   []byte
		path  string
		hang  bool
		err   string
	}{
		"good":         {known: host, key: private},
		"relative":     {known: host, key: private, path: "site.git"},
		"stranger":     {known: nil, key: private, err: "key is unknown"},
		"another key":  {known: other, key: private, err: "key mismatch"},
		"who are you":  {known: host, key: stranger, err: "unable to authenticate"},
		"no key":       {known: host, key: []byte("x"), err: "SSH_KEY_PATH"},
		"no such repo": {known: host, key: private, path: "/absent'; echo x.git", err: "git's protocol"},
		"hangs":        {known: host, key: private, hang: true, err: "not done within SYNC_TIMEOUT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			addr := sshServer(t, f, host, mine.PublicKey(), c.hang)
			dir := t.TempDir()
			hosts := ""
			if c.known != nil {
				hosts = knownhosts.Line([]string{addr}, c.known.PublicKey()) + "\n"
			}
			os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(hosts), 0o644)
			os.WriteFile(filepath.Join(dir, "key"), c.key, 0o600)
			path := f.bare
			if c.path != "" {
				path = c.path
			}
			s := follower(t, f, func(s *Syncer) {
				s.Remote.URL = &url.URL{Scheme: "ssh", User: url.User("git"), Host: addr, Path: path}
				s.Remote.credentials = credentials{KeyPath: dir + "/key", HostsPath: dir + "/known_hosts"}
				if c.hang {
					s.Timeout = 300 * time.Millisecond
				}
			})
			hash := f.push(map[string]string{"a": "1"})
			if c.err != "" {
				fails(t, s, c.err)
				return
			}
			for i := range 3 {
				round(t, s)
				serves(t, f, s, hash)
				hash = f.push(map[string]string{"a": fmt.Sprint(i, "x")})
			}
		})
	}
}

// A server with several keys is asked for the one that is known.
func TestSSHKnownAlgorithm(t *testing.T) {
	host, _ := newKey(t)
	line := knownhosts.Line([]string{"h:22"}, host.PublicKey())
	path := filepath.Join(t.TempDir(), "known_hosts")
	os.WriteFile(path, []byte(line+"\n"), 0o644)
	known, err := knownhosts.New(path)
	if err != nil {
		t.Fatal(err)
	}
	remote := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22}
	if got := algorithms(known, "h:22", remote); fmt.Sprint(got) != "[ssh-ed25519]" {
		t.Errorf("asks for %v", got)
	}
	if got := algorithms(known, "other:22", remote); got != nil {
		t.Errorf("of a stranger it asks for %v", got)
	}
}

// Conditions, not times: the loop looks at once when it is called, though its period is an hour.
func TestWake(t *testing.T) {
	f := newForge(t)
	s := follower(t, f, func(s *Syncer) { s.Period = time.Hour })
	first := f.push(map[string]string{"a": "1"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, nil) }()
	eventually(t, "the first commit", func() bool { return s.Site.Live() == first })
	second := f.push(map[string]string{"a": "2"})
	s.Wake()
	s.Wake()
	eventually(t, "the second commit", func() bool { return s.Site.Live() == second })
	st := s.Status()
	if st.Live.Commit != second || st.Remote.Commit != second || st.Remote.Ref != "refs/heads/main" || st.Error != nil {
		t.Errorf("the status says %+v", st)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
