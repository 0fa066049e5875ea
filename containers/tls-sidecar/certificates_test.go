package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"distlab/containers/internal/pemfile"
)

func withClientCA(t *testing.T, c *Certificates, ca *authority, auth tls.ClientAuthType, access Access) {
	t.Helper()
	c.ClientCA = filepath.Join(t.TempDir(), "ca.crt")
	check(t, os.WriteFile(c.ClientCA, ca.pem(), 0o644))
	c.ClientAuth, c.Access = auth, access
}

func named(name string) *tls.Config {
	config := tlsConfig()
	config.ServerName = name
	config.InsecureSkipVerify = true // the name may be none of the certificate's
	return config
}

func TestChooseByName(t *testing.T) {
	dir, more := t.TempDir(), t.TempDir()
	first, firstSerial := writePairFiles(t, dir, "first.example")
	serial := map[string]string{"first": firstSerial}
	// The three forms that a directory may have, and what it may hold besides.
	put := func(name string, text []byte) { check(t, os.WriteFile(filepath.Join(more, name), text, 0o600)) }
	issue := func(key string, names ...string) ([]byte, []byte) {
		cert, private := serverCA.issue(nil, names...)
		serial[key] = must(newPair(cert, private)).serial()
		return cert, private
	}
	cert, key := issue("wild", "*.wild.example")
	put("a.crt", cert)
	put("a.key", key)
	cert, key = issue("exact", "exact.wild.example", "Second.example")
	put("b.pem", append(cert, key...))
	check(t, os.MkdirAll(filepath.Join(more, "c"), 0o700))
	cert, key = issue("folder", "folder.example")
	put("c/tls.crt", cert)
	put("c/tls.key", key)
	put("README", []byte("not a certificate"))
	check(t, os.MkdirAll(filepath.Join(more, "..data"), 0o700))

	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files, p.Certificates.Dir = []PairFiles{first}, more })
	tests := []struct{ name, want string }{
		{"first.example", "first"},
		{"a.wild.example", "wild"},
		{"A.WILD.example", "wild"},
		{"exact.wild.example", "exact"},
		{"second.example", "exact"},
		{"folder.example", "folder"},
		{"a.b.wild.example", "first"}, // a wildcard is one label
		{"wild.example", "first"},
		{"unknown.example", "first"},
		{"", "first"},
	}
	for _, tt := range tests {
		if got := s.serial(t, named(tt.name)); got != serial[tt.want] {
			t.Errorf("%q got serial %s, want %s (%s)", tt.name, got, serial[tt.want], tt.want)
		}
	}

	t.Run("strict", func(t *testing.T) {
		s := start(t, app.addr, func(p *Proxy) {
			p.Certificates.Files, p.Certificates.Dir, p.Certificates.StrictSNI = []PairFiles{first}, more, true
		})
		for _, name := range []string{"", "unknown.example"} {
			if _, err := s.tryDial(named(name)); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
				t.Errorf("%q: got %v, want unrecognized name", name, err)
			}
		}
		if got := s.serial(t, named("a.wild.example")); got != serial["wild"] {
			t.Errorf("a known name got serial %s", got)
		}
	})
}

func TestVersions(t *testing.T) {
	app := startWireApp(t)
	for _, least := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		s := start(t, app.addr, func(p *Proxy) { p.Certificates.MinVersion = least })
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			config := tlsConfig()
			config.MinVersion, config.MaxVersion = version, version
			_, err := s.tryDial(config)
			if want := version >= max(least, tls.VersionTLS12); (err == nil) != want {
				t.Errorf("least %#x: %#x let in: %v (%v)", least, version, err == nil, err)
			}
		}
	}
}

// TestReload goes through the ways in which new content is good or bad. After
// each, the certificate in force is what a client sees, and /status tells why.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	files, _ := writePairFiles(t, dir, "localhost")
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files = []PairFiles{files} })
	c := s.Certificates
	goodCert, goodKey := must(os.ReadFile(files.Cert)), must(os.ReadFile(files.Key))
	otherCert, otherKey := serverCA.issue(nil, "localhost")
	expiredCert, expiredKey := serverCA.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "localhost")
	good, other, expired := must(newPair(goodCert, goodKey)).serial(), must(newPair(otherCert, otherKey)).serial(), must(newPair(expiredCert, expiredKey)).serial()

	steps := []struct {
		name      string
		cert, key []byte // nil: not there
		want      string // the serial in force
		problem   string // in the error; empty: it is fine
	}{
		{"unchanged", goodCert, goodKey, good, ""},
		{"certificate of another key", otherCert, goodKey, good, "private key does not match"},
		{"revert", goodCert, goodKey, good, ""},
		{"key of another certificate", goodCert, otherKey, good, "private key does not match"},
		{"half a certificate", otherCert[:len(otherCert)/2], otherKey, good, "PEM block 1 is incomplete"},
		{"half a key", otherCert, otherKey[:len(otherKey)/2], good, "private key: PEM block 1 is incomplete"},
		{"a chain of which the second is cut", append(slices.Clone(otherCert), serverCA.pem()[:200]...), otherKey, good, "PEM block 2 is incomplete"},
		{"empty", []byte{}, []byte{}, good, "no PEM block CERTIFICATE"},
		{"garbage", []byte("hello"), []byte("world"), good, "no PEM block CERTIFICATE"},
		{"no certificate", nil, otherKey, good, "no such file"},
		{"no key", otherCert, nil, good, "no such file"},
		{"exact revert", goodCert, goodKey, good, ""},
		{"new pair", otherCert, otherKey, other, ""},
		{"expired pair", expiredCert, expiredKey, expired, ""}, // with a warning
		{"garbage after it", []byte("hello"), expiredKey, expired, "no PEM block CERTIFICATE"},
		{"first pair", goodCert, goodKey, good, ""},
	}
	for _, step := range steps {
		for path, text := range map[string][]byte{files.Cert: step.cert, files.Key: step.key} {
			os.Remove(path)
			if text != nil {
				check(t, os.WriteFile(path, text, 0o600))
			}
		}
		reload, err := c.Reload("test")
		if got := s.serial(t, named("localhost")); got != step.want {
			t.Errorf("%s: serial %s in force, want %s", step.name, got, step.want)
		}
		list, _, last, lastGood := c.status()
		if diff := cmp.Diff(reload, last); diff != "" {
			t.Errorf("%s: status (-returned +shown):\n%s", step.name, diff)
		}
		wantOK := step.problem == ""
		if last.OK != wantOK || (err == nil) != wantOK || !strings.Contains(last.Error, step.problem) || !wantOK && !strings.Contains(last.Error, dir) {
			t.Errorf("%s: ok %v, error %q, want %q in it", step.name, last.OK, last.Error, step.problem)
		}
		if wantKept := map[bool]string{true: "", false: step.want}[wantOK]; last.KeptSerial != wantKept {
			t.Errorf("%s: kept serial %q, want %q", step.name, last.KeptSerial, wantKept)
		}
		if lastGood.Equal(last.Time) != wantOK {
			t.Errorf("%s: last good reload %s", step.name, lastGood)
		}
		if (list[0].Warning != "") != (step.want == expired) {
			t.Errorf("%s: warning %q", step.name, list[0].Warning)
		}
		if got := s.metric(t, "last_reload_success"); got != float(wantOK) {
			t.Errorf("%s: metric of the last reload %v", step.name, got)
		}
		if got := s.metric(t, "certificate_not_after_seconds", "serial="+step.want, "name=localhost"); got != float64(list[0].NotAfter.Unix()) {
			t.Errorf("%s: not after %v", step.name, got)
		}
	}
	if ok, bad := s.metric(t, "reloads_total", "result=ok"), s.metric(t, "reloads_total", "result=error"); ok != 6 || bad != 10 {
		t.Errorf("counted %v good and %v bad reloads", ok, bad)
	}
	if got := s.metric(t, "certificate_not_after_seconds", "serial="+other); got != 0 {
		t.Errorf("a certificate that is not served any more is still shown: %v", got)
	}
}

// TestReloadEachForItself: one bad pair does not keep the others back.
func TestReloadEachForItself(t *testing.T) {
	dir, more := t.TempDir(), t.TempDir()
	files, _ := writePairFiles(t, dir, "first.example")
	check(t, os.Mkdir(filepath.Join(more, "a"), 0o700))
	_, before := writePairFiles(t, filepath.Join(more, "a"), "a.example")
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files, p.Certificates.Dir = []PairFiles{files}, more })

	_, first := writePairFiles(t, dir, "first.example")
	check(t, os.WriteFile(filepath.Join(more, "a", "tls.crt"), []byte("half"), 0o600))
	check(t, os.Mkdir(filepath.Join(more, "b"), 0o700))
	check(t, os.WriteFile(filepath.Join(more, "b", "tls.crt"), []byte("bad from the start"), 0o600))
	reload, err := s.Certificates.Reload("test")
	if err == nil || !strings.Contains(reload.Error, "/a/tls.crt") || !strings.Contains(reload.Error, "/b/tls.key") || reload.KeptSerial != before {
		t.Errorf("got %+v", reload)
	}
	if got := s.serial(t, named("first.example")); got != first {
		t.Errorf("first.example shows %s, want the new %s", got, first)
	}
	if got := s.serial(t, named("a.example")); got != before {
		t.Errorf("a.example shows %s, want the old %s", got, before)
	}

	// A directory that cannot be read takes nothing away.
	check(t, os.Rename(more, more+".away"))
	if _, err := s.Certificates.Reload("test"); err == nil {
		t.Error("a directory that is not there is not reported")
	}
	if got := s.serial(t, named("a.example")); got != before {
		t.Errorf("without the directory a.example shows %s, want the old %s", got, before)
	}
	check(t, os.Rename(more+".away", more))

	// A pair that is taken away goes; the last one does not.
	check(t, os.RemoveAll(filepath.Join(more, "a")))
	check(t, os.RemoveAll(filepath.Join(more, "b")))
	if _, err := s.Certificates.Reload("test"); err != nil {
		t.Error(err)
	}
	if got := s.serial(t, named("a.example")); got != first {
		t.Errorf("a.example shows %s, want the default %s", got, first)
	}
}

func TestReloadEmptiedDirectory(t *testing.T) {
	more := t.TempDir()
	check(t, os.Mkdir(filepath.Join(more, "a"), 0o700))
	_, serial := writePairFiles(t, filepath.Join(more, "a"), "localhost")
	app := startWireApp(t)
	s := start(t, app.addr, func(p *Proxy) { p.Certificates.Dir = more })
	for _, remove := range []string{filepath.Join(more, "a"), more} {
		check(t, os.RemoveAll(remove))
		if reload, err := s.Certificates.Reload("test"); err == nil {
			t.Errorf("without %s: got %+v", remove, reload)
		}
		if got := s.serial(t, tlsConfig()); got != serial {
			t.Errorf("without %s: serial %s", remove, got)
		}
	}
}

// TestReloadKeepsConnections: who is connected stays so, with what it saw.
func TestReloadKeepsConnections(t *testing.T) {
	files, before := writePairFiles(t, t.TempDir(), "localhost")
	app := startTCPApp(t, echo)
	s := start(t, app, inTCPMode(func(p *Proxy) { p.Certificates.Files = []PairFiles{files} }))
	conn := s.dial(t, tlsConfig())
	buf := make([]byte, 4)
	ask := func() {
		t.Helper()
		io.WriteString(conn, "ping")
		if must(io.ReadFull(conn, buf)); string(buf) != "ping" {
			t.Errorf("got %q", buf)
		}
	}
	ask()
	_, after := writePairFiles(t, filepath.Dir(files.Cert), "localhost")
	if _, err := s.Certificates.Reload("test"); err != nil {
		t.Fatal(err)
	}
	ask()
	if got := serialOf(conn.ConnectionState().PeerCertificates[0]); got != before {
		t.Errorf("connected to %s, want %s", got, before)
	}
	if got := s.serial(t, tlsConfig()); got != after {
		t.Errorf("a new connection sees %s, want %s", got, after)
	}
}

// TestResumption: sessions resume as long as nothing has changed, and not
// across a change: the client would not see the new certificate, nor the
// sidecar that the client's CA is gone.
func TestResumption(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			files, _ := writePairFiles(t, t.TempDir(), "localhost")
			clients, others := newAuthority("clients"), newAuthority("others")
			app := startTCPApp(t, echo)
			s := start(t, app, inTCPMode(func(p *Proxy) {
				p.Certificates.Files = []PairFiles{files}
				withClientCA(t, p.Certificates, clients, tls.RequireAndVerifyClientCert, Access{All: true})
			}))
			config := tlsConfig()
			config.MinVersion, config.MaxVersion = version, version
			config.Certificates = []tls.Certificate{clients.client(nil)}
			config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
			// The answer brings the ticket in 1.3, and the refusal.
			connect := func() (tls.ConnectionState, error) {
				conn, err := s.tryDial(config)
				if err != nil {
					return tls.ConnectionState{}, err
				}
				defer conn.Close()
				io.WriteString(conn, "ping")
				_, err = io.ReadFull(conn, make([]byte, 4))
				return conn.ConnectionState(), err
			}
			for i, want := range []bool{false, true, true} {
				if state, err := connect(); err != nil || state.DidResume != want {
					t.Errorf("connection %d: resumed %v, want %v (%v)", i, state.DidResume, want, err)
				}
			}
			s.Certificates.rotateTickets()
			if state, err := connect(); err != nil || !state.DidResume {
				t.Errorf("after a rotation of the ticket key: resumed %v (%v)", state.DidResume, err)
			}

			_, after := writePairFiles(t, filepath.Dir(files.Cert), "localhost")
			must(s.Certificates.Reload("test"))
			state, err := connect()
			if err != nil || state.DidResume || serialOf(state.PeerCertificates[0]) != after {
				t.Errorf("after a new certificate: resumed %v, saw %v (%v)", state.DidResume, state.PeerCertificates, err)
			}
			if state, err := connect(); err != nil || !state.DidResume {
				t.Errorf("with the new certificate: resumed %v (%v)", state.DidResume, err)
			}

			check(t, os.WriteFile(s.Certificates.ClientCA, others.pem(), 0o644))
			must(s.Certificates.Reload("test"))
			if state, err := connect(); err == nil {
				t.Errorf("a client of a CA that is gone was let in, resumed %v", state.DidResume)
			}
			eventually(t, "counted", func() bool {
				return s.metric(t, "handshakes_total", "result=client_certificate") == 1
			})
		})
	}
}

// TestReloadClientCA: a bad bundle locks nobody out, and lets nobody in.
func TestReloadClientCA(t *testing.T) {
	clients, others := newAuthority("clients"), newAuthority("others")
	app := startTCPApp(t, echo)
	s := start(t, app, inTCPMode(func(p *Proxy) {
		withClientCA(t, p.Certificates, clients, tls.RequireAndVerifyClientCert, Access{All: true})
	}))
	letIn := func(ca *authority) bool {
		config := tlsConfig()
		config.Certificates = []tls.Certificate{ca.client(nil)}
		return pings(s, config)
	}
	path := s.Certificates.ClientCA
	certOfServer, key := serverCA.issue(nil, "x")
	for name, text := range map[string][]byte{
		"empty":              {},
		"garbage":            []byte("hello"),
		"half":               others.pem()[:200],
		"one and half":       append(others.pem(), clients.pem()[:200]...),
		"half in the middle": slices.Concat(others.pem(), clients.pem()[:200], []byte("\n"), clients.pem()),
		"with a key":         append(certOfServer, key...),
	} {
		check(t, os.WriteFile(path, text, 0o644))
		reload, err := s.Certificates.Reload("test")
		if err == nil || !strings.Contains(reload.Error, "client CA") || name == "with a key" && !strings.Contains(reload.Error, "PRIVATE KEY") {
			t.Errorf("%s: got %+v", name, reload)
		}
		if !letIn(clients) || letIn(others) {
			t.Errorf("%s: old clients %v, others %v", name, letIn(clients), letIn(others))
		}
	}
	check(t, os.WriteFile(path, append(others.pem(), clients.pem()...), 0o644))
	if _, err := s.Certificates.Reload("test"); err != nil {
		t.Error(err)
	}
	if !letIn(clients) || !letIn(others) {
		t.Errorf("both: clients %v, others %v", letIn(clients), letIn(others))
	}
}

func echo(c *net.TCPConn) { io.Copy(c, c) }

// pings is true if bytes go through and back: in TLS 1.3 a client learns only
// then that it was refused.
func pings(s *sidecar, config *tls.Config) bool {
	conn, err := s.tryDial(config)
	if err != nil {
		return false
	}
	defer conn.Close()
	io.WriteString(conn, "ping")
	_, err = io.ReadFull(conn, make([]byte, 4))
	return err == nil
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	files, _ := writePairFiles(t, dir, "localhost")
	large := filepath.Join(dir, "large")
	check(t, os.WriteFile(large, make([]byte, pemfile.MaxSize+1), 0o600))
	tests := []struct {
		name string
		c    *Certificates
		want string
	}{
		{"nothing", &Certificates{}, "no certificate"},
		{"not there", &Certificates{Files: []PairFiles{{"/nowhere", ""}}}, "no such file"},
		{"a folder", &Certificates{Files: []PairFiles{{dir, files.Key}}}, "not a regular file"},
		{"a device", &Certificates{Files: []PairFiles{{"/dev/zero", ""}}}, "not a regular file"},
		{"too large", &Certificates{Files: []PairFiles{{large, ""}}}, "larger than"},
		{"no key", &Certificates{Files: []PairFiles{{files.Cert, ""}}}, "private key"},
		{"no folder", &Certificates{Dir: "/nowhere"}, "no such file"},
		{"empty folder", &Certificates{Dir: t.TempDir()}, "no certificate"},
		{"no client CA", &Certificates{Files: []PairFiles{files}, ClientCA: "/nowhere"}, "client CA"},
	}
	for _, tt := range tests {
		if err := tt.c.Load(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.name, err, tt.want)
		}
	}
}
