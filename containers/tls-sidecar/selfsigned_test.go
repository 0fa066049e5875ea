package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSelfSigned(t *testing.T) {
	app := startWireApp(t)
	dir := t.TempDir()
	files := PairFiles{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	names := "SELF_SIGNED_NAMES=shop.example,*.shop.example,127.0.0.1,::1,spiffe://shop/web"

	p := launch(t, proxyTo(app.addr), "SELF_SIGNED=true", names, "CERT_PATH="+files.Cert, "KEY_PATH="+files.Key)
	serial := p.status(t).Certificates[0].Serial
	cert := must(newPair(must(os.ReadFile(files.Cert)), must(os.ReadFile(files.Key))))
	if cert.serial() != serial || len(serial) < 24 {
		t.Errorf("serial %s on disk, %s served", cert.serial(), serial)
	}
	if mode := must(os.Stat(files.Key)).Mode().Perm(); mode != 0o600 {
		t.Errorf("the key's mode is %o", mode)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert.leaf)
	for _, name := range []string{"shop.example", "a.shop.example", "127.0.0.1", "::1"} {
		if _, err := cert.leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("for %s: %v", name, err)
		}
	}
	if got := uris(cert.leaf); len(got) != 1 || got[0] != "spiffe://shop/web" {
		t.Errorf("URIs %q", got)
	}
	p.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit %d: %s", code, p.logged())
	}

	again := launch(t, proxyTo(app.addr), "SELF_SIGNED=true", names, "CERT_PATH="+files.Cert, "KEY_PATH="+files.Key)
	if got := again.status(t).Certificates[0].Serial; got != serial {
		t.Errorf("the second start made another certificate: %s, not %s", got, serial)
	}
	memory := launch(t, proxyTo(app.addr), "SELF_SIGNED=true")
	if s := memory.status(t).Certificates[0]; s.Path != "" || s.Name != "localhost" {
		t.Errorf("in memory: %+v", s)
	}
}

// TestNewCert rotates by hand, as a person would.
func TestNewCert(t *testing.T) {
	app := startWireApp(t)
	dir := t.TempDir()
	env := []string{"CERT_PATH=" + dir + "/tls.crt", "KEY_PATH=" + dir + "/tls.key"}
	p := launch(t, append(env, proxyTo(app.addr), "SELF_SIGNED=true")...)
	out, err := command(t, env, "new-cert", "-valid", "24h", "-names", "a.example,b.example").Output()
	check(t, err)
	serial := strings.TrimPrefix(strings.TrimSpace(string(out)), "serial ")
	eventually(t, "served", func() bool { return p.status(t).Certificates[0].Serial == serial })
	s := p.status(t)
	if got := strings.Join(s.Certificates[0].Names, " "); got != "a.example b.example" {
		t.Errorf("names %s", got)
	}
	if left := time.Until(s.Certificates[0].NotAfter); left > 24*time.Hour || left < 23*time.Hour {
		t.Errorf("valid for %s", left)
	}
	if !s.LastReload.OK || s.LastReload.Trigger != "change" {
		t.Errorf("last reload %+v", s.LastReload)
	}

	check(t, os.Mkdir(dir+"/folder", 0o700))
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "-names"},
		{[]string{"-x"}, 2, "not defined"},
		{[]string{"more"}, 2, "unknown argument"},
		{[]string{"-cert", ""}, 2, "no file to write to"},
		{[]string{"-names", ","}, 1, "no name"},
		{[]string{"-names", "a b"}, 1, "not a DNS name"},
		{[]string{"-valid", "-1h"}, 1, "cannot be valid"},
		{[]string{"-cert", "/nowhere/x"}, 1, "no such file"},
		{[]string{"-cert", dir + "/folder", "-key", ""}, 1, "rename"},
	}
	for _, tt := range tests {
		cmd := command(t, env, append([]string{"new-cert"}, tt.args...)...)
		text, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(text), tt.want) {
			t.Errorf("%q: exit %d, want %d; said %s, want %q", tt.args, code, tt.code, text, tt.want)
		}
	}
	if entries := must(os.ReadDir(dir)); len(entries) != 3 {
		t.Errorf("left behind: %v", entries)
	}
	if got := p.status(t).Certificates[0].Serial; got != serial {
		t.Errorf("serial %s after mistakes, want %s", got, serial)
	}
}
