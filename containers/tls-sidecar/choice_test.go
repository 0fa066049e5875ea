package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issueKind makes a leaf with that kind of key.
func issueKind(kind x509.PublicKeyAlgorithm, edit func(*x509.Certificate), names ...string) (cert, key []byte) {
	var public, private any
	switch kind {
	case x509.ECDSA:
		return serverCA.issue(edit, names...)
	case x509.RSA:
		k := must(rsa.GenerateKey(rand.Reader, 2048))
		public, private = k.Public(), k
	case x509.Ed25519:
		p, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		public, private = p, k
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	for _, name := range names {
		if err := addName(template, name); err != nil {
			panic(err)
		}
	}
	if edit != nil {
		edit(template)
	}
	der := must(x509.CreateCertificate(rand.Reader, template, serverCA.cert, public, serverCA.key))
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(private))})
	return cert, key
}

// served is a pair of a test: what it is called, its kind of key, and its names.
type served struct {
	called  string
	kind    x509.PublicKeyAlgorithm
	names   string // with blanks between
	expired bool
}

// TestChooseByKey: of several certificates that a client could mean, it gets one whose signature it can verify and which
// is valid, whether it names a host or not. Each row asks once, with TLS 1.2 and the suites of one kind of key, or with
// TLS 1.3 and the signatures of one.
func TestChooseByKey(t *testing.T) {
	const rsaKind, ecKind, edKind = x509.RSA, x509.ECDSA, x509.Ed25519
	two := []served{{"rsa", rsaKind, "shop.example", false}, {"ec", ecKind, "shop.example", false}}
	tests := []struct {
		name  string
		pairs []served // the first is the default
		asks  string   // SNI
		takes x509.PublicKeyAlgorithm
		want  string // "" ends the handshake
	}{
		{"RSA by name", two, "shop.example", rsaKind, "rsa"},
		{"ECDSA by name", two, "shop.example", ecKind, "ec"},
		{"RSA without a name", two, "", rsaKind, "rsa"},
		{"ECDSA without a name", two, "", ecKind, "ec"}, // haproxy#2392
		{"ECDSA by a name that is none of them", two, "other.example", ecKind, "ec"},
		{"RSA by a name that is none of them", two, "other.example", rsaKind, "rsa"},
		{"the other order", []served{two[1], two[0]}, "", rsaKind, "rsa"},
		{"three kinds", []served{two[0], two[1], {"ed", edKind, "shop.example", false}}, "", edKind, "ed"},
		{"names that overlap", []served{two[0], {"ec", ecKind, "www.example shop.example", false}}, "", ecKind, "ec"},
		{"nothing that the client can verify", two[:1], "shop.example", ecKind, ""},
		{"another's certificate is no default", []served{two[0], {"ec", ecKind, "www.example", false}}, "", ecKind, ""},

		{"a wildcard where the exact one is of the other kind", []served{{"exact", rsaKind, "a.shop.example", false}, {"wild", ecKind, "*.shop.example", false}}, "a.shop.example", ecKind, "wild"},
		{"the exact one before the wildcard", []served{{"wild", rsaKind, "*.shop.example", false}, {"exact", rsaKind, "a.shop.example", false}}, "a.shop.example", rsaKind, "exact"},
		{"a wildcard of two kinds", []served{{"rsa", rsaKind, "*.shop.example", false}, {"ec", ecKind, "*.shop.example", false}}, "b.shop.example", ecKind, "ec"},
		{"an address of two kinds", []served{{"rsa", rsaKind, "127.0.0.1", false}, {"ec", ecKind, "127.0.0.1", false}}, "", ecKind, "ec"}, // an address is no SNI

		{"the valid one of two of a kind", []served{{"old", ecKind, "shop.example", true}, {"new", ecKind, "shop.example", false}}, "shop.example", ecKind, "new"},
		{"the valid one without a name", []served{{"old", ecKind, "shop.example", true}, {"new", ecKind, "shop.example", false}}, "", ecKind, "new"},
		{"an expired one before none", []served{{"rsa", rsaKind, "shop.example", false}, {"old", ecKind, "shop.example", true}}, "shop.example", ecKind, "old"},
		{"an expired exact one and a wildcard", []served{{"old", ecKind, "a.shop.example", true}, {"wild", ecKind, "*.shop.example", false}}, "a.shop.example", ecKind, "wild"},
		{"the same pair twice", []served{two[1], two[1]}, "shop.example", ecKind, "ec"},
	}
	app := startWireApp(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			var files []PairFiles
			called := map[string]string{} // by serial
			for i, p := range tt.pairs {
				cert, key := issueKind(p.kind, func(c *x509.Certificate) {
					if p.expired {
						c.NotAfter = time.Now().Add(-time.Minute)
					}
				}, strings.Fields(p.names)...)
				f := PairFiles{filepath.Join(dir, fmt.Sprint(i)+".crt"), filepath.Join(dir, fmt.Sprint(i)+".key")}
				check(t, os.WriteFile(f.Cert, cert, 0o600))
				check(t, os.WriteFile(f.Key, key, 0o600))
				files = append(files, f)
				called[must(newPair(cert, key)).serial()] = p.called
			}
			s := start(t, app.addr, func(p *Proxy) { p.Certificates.Files = files })
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				hello := helloOf(s.Certificates, version, tt.asks, tt.takes)
				chosen := s.Certificates.choose(s.Certificates.now.Load(), hello)
				got := called[serialOf(chosen.Leaf)]
				if hello.SupportsCertificate(chosen) != nil && tt.asks != "other.example" {
					got = "" // the handshake ends: the client cannot verify what it is given
				}
				if got != tt.want {
					t.Errorf("%s: %q, want %q", tls.VersionName(version), got, tt.want)
				}
			}
			if tt.takes == edKind {
				return // Go's client knows no way to take these alone
			}
			config := named(tt.asks)
			config.MaxVersion = tls.VersionTLS12
			config.CipherSuites = map[x509.PublicKeyAlgorithm][]uint16{
				rsaKind: {tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, ecKind: {tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			}[tt.takes]
			conn, err := s.tryDial(config)
			if err != nil {
				if tt.want != "" {
					t.Errorf("a real client: %v, want %q", err, tt.want)
				}
				return
			}
			defer conn.Close()
			if got := called[serialOf(conn.ConnectionState().PeerCertificates[0])]; got != tt.want {
				t.Errorf("a real client got %q, want %q", got, tt.want)
			}
		})
	}
}

// helloOf is a ClientHello of someone who can verify one kind of key.
func helloOf(c *Certificates, version uint16, name string, kind x509.PublicKeyAlgorithm) *tls.ClientHelloInfo {
	hello := &tls.ClientHelloInfo{
		ServerName: name, SupportedVersions: []uint16{version}, SupportedCurves: []tls.CurveID{tls.X25519, tls.CurveP256},
		SupportedPoints: []uint8{0}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
	}
	switch kind {
	case x509.RSA:
		hello.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256, tls.PKCS1WithSHA256}
		hello.CipherSuites = append(hello.CipherSuites, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	case x509.ECDSA:
		hello.SignatureSchemes = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
		hello.CipherSuites = append(hello.CipherSuites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
	case x509.Ed25519:
		hello.SignatureSchemes = []tls.SignatureScheme{tls.Ed25519}
		hello.CipherSuites = append(hello.CipherSuites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
	}
	return hello
}

// TestWarnings: what is served, or believed, although some clients may not like it, is said in the status.
func TestWarnings(t *testing.T) {
	root := newAuthority("root")
	between, old := root.authority("between", time.Hour), root.authority("old", -time.Minute)
	stranger := newAuthority("stranger")
	ends := func(after time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = time.Now().Add(after) }
	}
	join := func(cert []byte, more ...*authority) []byte {
		for _, a := range more {
			cert = append(cert, a.pem()...)
		}
		return cert
	}
	for _, tt := range []struct {
		name string
		by   *authority
		edit func(*x509.Certificate)
		more []*authority
		want string
	}{
		{"whole", between, nil, []*authority{between}, ""},
		{"with its root", between, nil, []*authority{between, root}, ""},
		{"without what it needs", between, nil, nil, ""}, // who could tell?
		{"expired", between, ends(-time.Minute), []*authority{between}, "expired "},
		{"not valid yet", between, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, []*authority{between}, "not valid before "},
		{"an expired intermediate", old, nil, []*authority{old}, "certificate 2 of the chain"},
		{"out of order", between, nil, []*authority{root, between}, "out of order: certificate 2"},
		{"another's intermediate", between, nil, []*authority{stranger}, "out of order: certificate 2"},
		{"an intermediate twice", between, nil, []*authority{between, between}, "chain has certificate 3 twice"},
		{"for clients", between, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, []*authority{between}, "not for servers"},
		{"for any use", between, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, []*authority{between}, ""},
	} {
		cert, key := tt.by.issue(tt.edit, "localhost")
		p, err := newPair(join(cert, tt.more...), key)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := p.warning(time.Now()); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}

	leaf, _ := root.issue(nil, "client")
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"authorities":     {join(root.pem(), between), ""},
		"one expired":     {join(root.pem(), old), "expired "},
		"one no CA":       {append(root.pem(), leaf...), "not an authority: certificate 2"},
		"one in it twice": {join(root.pem(), root), ""},
	} {
		path := filepath.Join(t.TempDir(), "ca.crt")
		check(t, os.WriteFile(path, tt.text, 0o600))
		a := must(loadAuthorities(path, nil))
		if got := a.warning(time.Now()); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("client CA, %s: %q, want %q", name, got, tt.want)
		}
	}
}

// authority is one that this one vouches for.
func (a *authority) authority(name string, life time.Duration) *authority {
	sub := newAuthority(name)
	sub.cert.NotBefore, sub.cert.NotAfter, sub.cert.SerialNumber = time.Now().Add(-time.Hour), time.Now().Add(life), big.NewInt(time.Now().UnixNano())
	der := must(x509.CreateCertificate(rand.Reader, sub.cert, a.cert, sub.key.Public(), a.key))
	sub.cert = must(x509.ParseCertificate(der))
	return sub
}
