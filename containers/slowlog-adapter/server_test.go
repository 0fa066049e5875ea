package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAuthentication(t *testing.T) {
	for _, tt := range []struct {
		name, user, password string // of Redis
		asUser, asPassword   string
		want                 string // of the reason
	}{
		{"a password", "", "s3cret", "", "s3cret", ""},
		{"a user", "bob", "s3cret", "bob", "s3cret", ""},
		{"a wrong password", "bob", "s3cret", "bob", "hunter2", "redis: authenticate as the given user: WRONGPASS"},
		{"none where one is needed", "", "s3cret", "", "", "redis: INFO server: NOAUTH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startRedis(t, func(f *fakeRedis) { f.user, f.password = tt.user, tt.password })
			r := start(t, f, func(a *Adapter) { a.Server.Username, a.Server.Password = tt.asUser, tt.asPassword })
			await(t, "a poll", func() bool { s := r.Status(); return s.Polls+s.Failed > 0 })
			ok, reason := r.readiness()
			if ok != (tt.want == "") || !strings.HasPrefix(reason, tt.want) {
				t.Errorf("ready %t, %q", ok, reason)
			}
			if strings.Contains(reason+r.log.String(), "hunter2") {
				t.Errorf("the password is told: %s %s", reason, r.log)
			}
		})
	}
}

// pair writes a certificate for 127.0.0.1, its own CA, and its key.
func pair(t *testing.T) (certPath, keyPath string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certPath, keyPath = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{certPath: {Type: "CERTIFICATE", Bytes: der}, keyPath: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certPath, keyPath
}

func TestTLS(t *testing.T) {
	certPath, keyPath := pair(t)
	cert, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		t.Fatal(err)
	}
	ca := x509.NewCertPool()
	ca.AddCert(cert.Leaf)
	f := startRedis(t, func(f *fakeRedis) {
		f.tls = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca}
	})
	f.slow("GET", "a")
	whole := config{RedisAddr: f.addr, RedisTLS: true, RedisCAPath: certPath, RedisCertPath: certPath, RedisKeyPath: keyPath, Timeout: patience}
	server, err := whole.server()
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, f, func(a *Adapter) { a.Server = server })
	r.lines(t, 1)

	whole.RedisTLSName = "elsewhere.example"
	if server, err = whole.server(); err != nil {
		t.Fatal(err)
	}
	r = start(t, f, func(a *Adapter) { a.Server = server })
	await(t, "a failed poll", func() bool { return r.Status().Failed > 0 })
	if _, reason := r.readiness(); !strings.Contains(reason, "TLS with "+f.addr) {
		t.Errorf("another name: %q", reason)
	}
}

func TestSettingsOfTLS(t *testing.T) {
	certPath, keyPath := pair(t)
	for _, tt := range []struct {
		cfg  config
		want string
	}{
		{config{RedisAddr: "redis"}, "REDIS_ADDR: address redis: missing port in address"},
		{config{RedisAddr: "redis:6379", RedisCAPath: certPath}, "settings of TLS are given, and REDIS_TLS is false"},
		{config{RedisAddr: "redis:6379", RedisTLS: true, RedisCAPath: "/nowhere"}, "REDIS_CA_PATH: stat /nowhere"},
		{config{RedisAddr: "redis:6379", RedisTLS: true, RedisCAPath: keyPath}, "REDIS_CA_PATH: " + keyPath + ": PEM block 1 is a PRIVATE KEY"},
		{config{RedisAddr: "redis:6379", RedisTLS: true, RedisCertPath: certPath}, "REDIS_CERT_PATH and REDIS_KEY_PATH: one without the other"},
	} {
		if _, err := tt.cfg.server(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.cfg, err, tt.want)
		}
	}
}

func TestSocket(t *testing.T) {
	f := startRedis(t, nil)
	path := filepath.Join(t.TempDir(), "redis.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	f.slow("GET", "a")
	server, err := config{RedisAddr: path, Timeout: patience}.server()
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, f, func(a *Adapter) { a.Server = server })
	r.lines(t, 1)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
}

// With a stored cursor a restart of the adapter repeats nothing, and what was lost meanwhile is counted.
func TestStore(t *testing.T) {
	store := &Store{Path: filepath.Join(t.TempDir(), "cursor")}
	f := startRedis(t, func(f *fakeRedis) { f.maxLen = 4 })
	f.slow("GET", "a")
	f.slow("GET", "b")
	r := start(t, f, func(a *Adapter) { a.Store = store })
	r.lines(t, 2)
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	f2 := startRedis(t, func(f *fakeRedis) { f.maxLen = 4 })
	f2.next, f2.log = 2, nil
	for range 7 {
		f2.slow("GET", "c")
	}
	r = start(t, f2, func(a *Adapter) { a.Store = store })
	lines := r.lines(t, 5)
	if lines[0].Event != "lost" || *lines[0].Lost != 3 {
		t.Errorf("wrote\n%s", r.out)
	}
	if diff := cmp.Diff([]int64{5, 6, 7, 8}, ids(lines)); diff != "" {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"id":-2}`, "[]"} {
		if err := os.WriteFile(store.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.load(); err == nil {
			t.Errorf("%q is taken for a cursor", text)
		}
	}
}
