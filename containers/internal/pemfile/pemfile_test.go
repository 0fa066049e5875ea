package pemfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// made is a certificate with its key, each as PEM.
type made struct {
	cert *x509.Certificate
	key  crypto.Signer

	certPEM, keyPEM []byte
}

var serial int64

// issue makes a certificate by an authority, or by itself.
func issue(tb testing.TB, name string, by *made, key crypto.Signer) made {
	tb.Helper()
	serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return made{cert, key, block("CERTIFICATE", der), block("PRIVATE KEY", pkcs8)}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func ecKey(tb testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// chain is a leaf with its intermediate.
func chain(tb testing.TB) (leaf, between made) {
	root := issue(tb, "root", nil, ecKey(tb))
	between = issue(tb, "between", &root, ecKey(tb))
	return issue(tb, "leaf.example", &between, ecKey(tb)), between
}

func join(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b.Write(p)
		case string:
			b.WriteString(p)
		}
	}
	return b.Bytes()
}

// TestPair: what is served whole, and what is refused although a part of it could be served.
func TestPair(t *testing.T) {
	leaf, between := chain(t)
	other := issue(t, "other", nil, ecKey(t))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalECPrivateKey(leaf.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	garbled := slices.Clone(between.cert.Raw)
	garbled[4] ^= 0xff
	badLine := bytes.Replace(between.certPEM, []byte("\n"), []byte("\n*"), 3)
	both := join(leaf.certPEM, between.certPEM)
	crlf := bytes.ReplaceAll(both, []byte("\n"), []byte("\r\n"))
	encrypted := join("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", strings.SplitAfterN(string(block("EC PRIVATE KEY", ec)), "\n", 2)[1])

	for _, tt := range []struct {
		name      string
		cert, key []byte
		chain     int    // certificates served
		want      string // of the error; "" is none
	}{
		{"a leaf", leaf.certPEM, leaf.keyPEM, 1, ""},
		{"a chain", both, leaf.keyPEM, 2, ""},
		{"without the last newline", bytes.TrimRight(both, "\n"), bytes.TrimRight(leaf.keyPEM, "\n"), 2, ""},
		{"lines that end in CR LF", crlf, bytes.ReplaceAll(leaf.keyPEM, []byte("\n"), []byte("\r\n")), 2, ""},
		{"a byte order mark", join("\ufeff", both), leaf.keyPEM, 2, ""},
		{"text for people around blocks", join("Bag Attributes\n  friendlyName: x\n", leaf.certPEM, "subject=/CN=é\n---\n", between.certPEM, "# end\n\n"), leaf.keyPEM, 2, ""},
		{"certificate and key in one file", join(leaf.keyPEM, both), join(leaf.keyPEM, both), 2, ""},
		{"hitch's, with parameters", join(leaf.certPEM, block("DH PARAMETERS", []byte{1}), leaf.keyPEM), join(leaf.certPEM, leaf.keyPEM), 1, ""},
		{"a key of openssl ecparam", leaf.certPEM, join(block("EC PARAMETERS", []byte{6, 0}), block("EC PRIVATE KEY", ec)), 1, ""},

		{"a truncated intermediate", join(leaf.certPEM, between.certPEM[:200]), leaf.keyPEM, 0, "PEM block 2 is incomplete"},
		{"a truncated first line", join(leaf.certPEM, "-----BEG"), leaf.keyPEM, 0, "PEM block 2 is incomplete"},
		{"a truncated last line", both[:len(both)-4], leaf.keyPEM, 0, "PEM block 2 is incomplete"},
		{"an intermediate that is no base64", join(leaf.certPEM, badLine), leaf.keyPEM, 0, "PEM block 2 is incomplete"},
		{"the same in the middle", join(leaf.certPEM, badLine, between.certPEM), leaf.keyPEM, 0, "PEM block 2 is incomplete"},
		{"an intermediate that is no certificate", join(leaf.certPEM, block("CERTIFICATE", garbled)), leaf.keyPEM, 0, "certificate 2: x509:"},
		{"joined without a newline", join(bytes.TrimRight(leaf.certPEM, "\n"), between.certPEM), leaf.keyPEM, 0, "PEM block 1 is incomplete"},
		{"a shorter text over a longer one", join(leaf.certPEM, both[len(leaf.certPEM)+100:]), leaf.keyPEM, 0, "an end without a beginning"},
		{"its head lost", both[100:], leaf.keyPEM, 0, "an end without a beginning"},
		{"zeros after a crash", join(leaf.certPEM, "\x00\x00\x00\x00"), leaf.keyPEM, 0, "bytes in it are no text"},
		{"DER after it", join(leaf.certPEM, between.cert.Raw), leaf.keyPEM, 0, "bytes in it are no text"},
		{"OpenSSL's trusted certificate", join(leaf.certPEM, block("TRUSTED CERTIFICATE", between.cert.Raw)), leaf.keyPEM, 0, "a TRUSTED CERTIFICATE, which is not read"},
		{"a request in place of it", block("CERTIFICATE REQUEST", []byte{1}), leaf.keyPEM, 0, "a CERTIFICATE REQUEST, which is not read"},
		{"a block indented", join(leaf.certPEM, " ", between.certPEM), leaf.keyPEM, 0, "PEM block 2 is incomplete"},
		{"empty", nil, nil, 0, "no PEM block CERTIFICATE"},
		{"garbage", []byte("hello"), []byte("world"), 0, "no PEM block CERTIFICATE"},

		{"the intermediate first", join(between.certPEM, leaf.certPEM), leaf.keyPEM, 0, "does not match the first certificate but certificate 2"},
		{"another's key", both, other.keyPEM, 0, "private key does not match"},
		{"a key of another kind", both, block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(rsaKey))), 0, "private key type does not match"},
		{"no key", both, leaf.certPEM, 0, "no PEM block PRIVATE KEY"},
		{"half a key", both, leaf.keyPEM[:len(leaf.keyPEM)/2], 0, "private key: PEM block 1 is incomplete"},
		{"a key and half another", both, join(leaf.keyPEM, other.keyPEM[:90]), 0, "private key: PEM block 2 is incomplete"},
		{"two keys", both, join(leaf.keyPEM, other.keyPEM), 0, "more than one private key"},
		{"a public key", both, block("PUBLIC KEY", []byte{1}), 0, "no PEM block PRIVATE KEY"},
		{"an encrypted key", both, block("ENCRYPTED PRIVATE KEY", []byte{1}), 0, "encrypted, and nobody is here to type its passphrase"},
		{"an encrypted key, the old way", both, encrypted, 0, "encrypted, and nobody is here to type its passphrase"},
	} {
		pair, certs, err := Pair(tt.cert, tt.key)
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		case len(certs) != tt.chain || len(pair.Certificate) != tt.chain:
			t.Errorf("%s: a chain of %d and %d, want %d", tt.name, len(certs), len(pair.Certificate), tt.chain)
		case err == nil && !pair.Leaf.Equal(leaf.cert):
			t.Errorf("%s: the leaf is %s", tt.name, pair.Leaf.Subject)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestEveryCut: wherever a file is cut off, what is made of it is an error, or all that was whole with nothing after it.
func TestEveryCut(t *testing.T) {
	leaf, between := chain(t)
	text := join(leaf.certPEM, between.certPEM, leaf.keyPEM)
	good := map[int]int{} // the cuts at which certificates may be served, and how many
	for n, at := range []int{len(leaf.certPEM), len(leaf.certPEM) + len(between.certPEM)} {
		good[at], good[at-1] = n+1, n+1 // with its newline or without
	}
	good[len(text)-1] = 2 // the key is whole, too
	for cut := range text {
		_, certs, err := Pair(text[:cut], leaf.keyPEM)
		want := good[cut]
		if (err == nil) != (want > 0) || len(certs) != want {
			t.Errorf("cut at %d of %d: %d certificates, want %d (%v)", cut, len(text), len(certs), want, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	one, two := chain(t)
	for _, tt := range []struct {
		name string
		text []byte
		n    int
		want string
	}{
		{"one", one.certPEM, 1, ""},
		{"a bundle with comments", join("# first\n", one.certPEM, "\n\nsecond\n======\n", two.certPEM), 2, ""},
		{"one and a half", join(one.certPEM, two.certPEM[:200]), 0, "PEM block 2 is incomplete"},
		{"half in the middle", join(one.certPEM, two.certPEM[:200], "\n", two.certPEM), 0, "PEM block 2 is incomplete"},
		{"with a key", join(one.certPEM, one.keyPEM), 0, "PEM block 2 is a PRIVATE KEY, not a CERTIFICATE"},
		{"garbled", block("CERTIFICATE", []byte{1, 2, 3}), 0, "certificate 1: x509:"},
		{"empty", nil, 0, "no certificate in it"},
		{"garbage", []byte("hello"), 0, "no certificate in it"},
	} {
		list, err := Certificates(tt.text)
		if len(list) != tt.n || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d certificates, %v; want %d, %q", tt.name, len(list), err, tt.n, tt.want)
		}
	}
}

func TestFiles(t *testing.T) {
	leaf, between := chain(t)
	dir := t.TempDir()
	put := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := put("cert", join(leaf.certPEM, between.certPEM)), put("key", leaf.keyPEM)
	half, large := put("half", join(leaf.certPEM, between.certPEM[:200])), put("large", make([]byte, MaxSize+1))
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if pair, err := LoadPair(cert, key); err != nil || len(pair.Certificate) != 2 {
		t.Errorf("a chain of %d: %v", len(pair.Certificate), err)
	}
	if _, err := Pool(cert); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]string{
		half: half + ": PEM block 2", large: "larger than 1 MiB", fifo: "not a regular file", dir: "not a regular file",
		"/dev/zero": "not a regular file", filepath.Join(dir, "none"): "no such file",
	} {
		if _, err := Pool(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a pool of %s: %v, want %q", path, err, want)
		}
		want = strings.Replace(want, ": PEM", " and "+key+": certificate: PEM", 1)
		if _, err := LoadPair(path, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a pair of %s: %v, want %q", path, err, want)
		}
		if _, err := LoadPair(cert, path); err == nil {
			t.Errorf("%s is taken for a key", path)
		}
	}
}

// FuzzPair: nothing that a file may hold ends the program, and what begins as a certificate is served or the whole
// is refused.
func FuzzPair(f *testing.F) {
	leaf, between := chain(f)
	f.Add(join(leaf.certPEM, between.certPEM))
	f.Add(join(leaf.certPEM, between.certPEM[:200]))
	f.Add(join(leaf.certPEM, bytes.Replace(between.certPEM, []byte("\n"), []byte("\n*"), 3), between.certPEM))
	f.Add(join("x-----BEGIN ", leaf.certPEM, "-----END "))
	f.Add(join(leaf.certPEM, "-----BEGIN CERTIFICATE-----\nHeader: x\n\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if list, err := Certificates(text); err == nil && len(list) != bytes.Count(text, []byte("-----BEGIN ")) {
			t.Errorf("%d certificates of %q", len(list), text)
		}
		keyOf(text)
		pair, certs, err := Pair(text, leaf.keyPEM)
		if err != nil {
			return
		}
		if n := bytes.Count(text, []byte("-----BEGIN CERTIFICATE-----")); n != len(certs) || n != len(pair.Certificate) {
			t.Error(fmt.Errorf("%d begin, %d and %d are served: %q", n, len(certs), len(pair.Certificate), text))
		}
	})
}
