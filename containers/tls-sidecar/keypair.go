package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// PairFiles names a certificate chain and its key, both PEM. Without Key, both
// are in Cert, as hitch has it.
type PairFiles struct{ Cert, Key string }

// pair is a certificate that is served. It is never changed.
type pair struct {
	files PairFiles // empty: lives in memory only
	sum   [sha256.Size]byte
	tls   tls.Certificate
	leaf  *x509.Certificate
	names []string // lower case, wildcards as they are
}

// maxPEM bounds what is read of a file: a path may name anything.
const maxPEM = 1 << 20

// readPEM reads a regular file of a sane size.
func readPEM(path string) ([]byte, error) {
	// Not opened before it is known to be a file: a pipe would block.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxPEM:
		return nil, fmt.Errorf("read %s: larger than 1 MiB", path)
	}
	return text, nil
}

// content is what a pair's files hold now.
func (p PairFiles) content() (cert, key []byte, err error) {
	if cert, err = readPEM(p.Cert); err != nil {
		return nil, nil, err
	}
	if p.Key == "" {
		return cert, cert, nil
	}
	key, err = readPEM(p.Key)
	return cert, key, err
}

// load reads and checks a pair. old, if it holds the very same content, is
// returned as it is.
func (p PairFiles) load(old *pair) (*pair, error) {
	cert, key, err := p.content()
	if err != nil {
		return nil, err
	}
	sum := sumOf(cert, key)
	if old != nil && old.sum == sum {
		return old, nil
	}
	loaded, err := newPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Cert, err)
	}
	loaded.files, loaded.sum = p, sum
	return loaded, nil
}

func sumOf(parts ...[]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:", len(part)) // the border is part of the sum
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// newPair checks that the key is the certificate's.
func newPair(cert, key []byte) (*pair, error) {
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	leaf := c.Leaf
	if leaf == nil {
		if leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, err
		}
		c.Leaf = leaf
	}
	p := &pair{tls: c, leaf: leaf}
	for _, name := range leaf.DNSNames {
		p.names = append(p.names, strings.ToLower(name))
	}
	for _, ip := range leaf.IPAddresses {
		p.names = append(p.names, ip.String())
	}
	return p, nil
}

// name is what the certificate is called in metrics and logs.
func (p *pair) name() string {
	switch {
	case len(p.names) > 0:
		return p.names[0]
	case p.leaf.Subject.CommonName != "":
		return p.leaf.Subject.CommonName
	}
	return "unnamed"
}

// serial is in lower-case hexadecimal, as `openssl x509 -serial` has it but
// for the case.
func (p *pair) serial() string { return serialOf(p.leaf) }

func serialOf(c *x509.Certificate) string {
	text := c.SerialNumber.Text(16)
	if len(text)%2 == 1 {
		return "0" + text
	}
	return text
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// warning says why clients may refuse the certificate although it is served:
// an expired one is still better than none, for those that do not check.
func (p *pair) warning(now time.Time) string {
	switch {
	case now.After(p.leaf.NotAfter):
		return "expired " + p.leaf.NotAfter.UTC().Format(time.RFC3339)
	case now.Before(p.leaf.NotBefore):
		return "not valid before " + p.leaf.NotBefore.UTC().Format(time.RFC3339)
	}
	return ""
}

// findPairs lists the pairs of a directory, in the order of their names:
// NAME.crt or NAME.pem with NAME.key, a NAME.pem that holds both, and
// NAME/tls.crt with NAME/tls.key, the form of a mounted Kubernetes secret.
func findPairs(dir string) ([]PairFiles, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []PairFiles
	for _, e := range entries {
		name := e.Name()
		// "..data" and its targets are seen through the links beside them.
		if strings.HasPrefix(name, ".") {
			continue
		}
		path := filepath.Join(dir, name)
		ext := filepath.Ext(name)
		key := strings.TrimSuffix(path, ext) + ".key"
		switch {
		case isDir(path):
			p := PairFiles{filepath.Join(path, "tls.crt"), filepath.Join(path, "tls.key")}
			if exists(p.Cert) {
				list = append(list, p)
			}
		case ext == ".crt" || ext == ".pem" && exists(key):
			list = append(list, PairFiles{path, key})
		case ext == ".pem":
			list = append(list, PairFiles{Cert: path})
		}
	}
	slices.SortFunc(list, func(a, b PairFiles) int { return strings.Compare(a.Cert, b.Cert) })
	return list, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// authorities is a client CA file that is in force.
type authorities struct {
	sum      [sha256.Size]byte
	pool     *x509.CertPool
	subjects []string
}

// loadAuthorities reads a bundle of CA certificates. Every block must be one:
// a bundle of which half was written must not lock half of the clients out.
func loadAuthorities(path string, old *authorities) (*authorities, error) {
	text, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	sum := sumOf(text)
	if old != nil && old.sum == sum {
		return old, nil
	}
	a := &authorities{sum: sum, pool: x509.NewCertPool()}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if strings.Contains(string(rest), "-----BEGIN") {
				return nil, fmt.Errorf("%s: incomplete PEM block after %d certificates", path, len(a.subjects))
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: a %s among the certificates", path, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(a.subjects)+1, err)
		}
		a.pool.AddCert(c)
		a.subjects = append(a.subjects, c.Subject.String())
	}
	if len(a.subjects) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it", path)
	}
	return a, nil
}
