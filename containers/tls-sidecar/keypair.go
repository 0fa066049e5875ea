package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"distlab/containers/internal/pemfile"
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
	chain []*x509.Certificate // the leaf first
	names []string            // lower case, wildcards as they are
}

// content is what a pair's files hold now.
func (p PairFiles) content() (cert, key []byte, err error) {
	if cert, err = pemfile.Read(p.Cert); err != nil {
		return nil, nil, err
	}
	if p.Key == "" {
		return cert, cert, nil
	}
	key, err = pemfile.Read(p.Key)
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

// newPair reads a chain and its key, all of both.
func newPair(cert, key []byte) (*pair, error) {
	c, chain, err := pemfile.Pair(cert, key)
	if err != nil {
		return nil, err
	}
	p := &pair{tls: c, leaf: chain[0], chain: chain}
	for _, name := range p.leaf.DNSNames {
		p.names = append(p.names, strings.ToLower(name))
	}
	for _, ip := range p.leaf.IPAddresses {
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

// valid says whether clients that look at the leaf's dates accept it.
func (p *pair) valid(now time.Time) bool {
	return !now.Before(p.leaf.NotBefore) && !now.After(p.leaf.NotAfter)
}

// warning says why clients may refuse the certificate although it is served: an expired one is still better than none, for
// those that do not check, and some clients mend a chain by themselves.
func (p *pair) warning(now time.Time) string {
	switch {
	case now.After(p.leaf.NotAfter):
		return "expired " + p.leaf.NotAfter.UTC().Format(time.RFC3339)
	case now.Before(p.leaf.NotBefore):
		return "not valid before " + p.leaf.NotBefore.UTC().Format(time.RFC3339)
	case len(p.leaf.ExtKeyUsage)+len(p.leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(p.leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(p.leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return "not for servers: its extended key usage does not say serverAuth"
	}
	for i, c := range p.chain[1:] {
		switch below := p.chain[i]; {
		case now.After(c.NotAfter):
			return fmt.Sprintf("expired %s: certificate %d of the chain", c.NotAfter.UTC().Format(time.RFC3339), i+2)
		case slices.ContainsFunc(p.chain[:i+1], c.Equal):
			return fmt.Sprintf("chain has certificate %d twice", i+2)
		case below.CheckSignatureFrom(c) != nil:
			return fmt.Sprintf("chain is out of order: certificate %d has not signed the one before it", i+2)
		}
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
	sum  [sha256.Size]byte
	pool *x509.CertPool
	list []*x509.Certificate
}

// loadAuthorities reads a bundle of CA certificates. Every block must be one: a bundle of which half was written must
// not lock half of the clients out.
func loadAuthorities(path string, old *authorities) (*authorities, error) {
	text, err := pemfile.Read(path)
	if err != nil {
		return nil, err
	}
	sum := sumOf(text)
	if old != nil && old.sum == sum {
		return old, nil
	}
	list, err := pemfile.Certificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a := &authorities{sum: sum, pool: x509.NewCertPool(), list: list}
	for _, c := range list {
		a.pool.AddCert(c)
	}
	return a, nil
}

func (a *authorities) subjects() []string {
	names := make([]string, len(a.list))
	for i, c := range a.list {
		names[i] = c.Subject.String()
	}
	return names
}

// warning says why clients may be refused although their authority is in the bundle.
func (a *authorities) warning(now time.Time) string {
	for i, c := range a.list {
		switch {
		case now.After(c.NotAfter):
			return fmt.Sprintf("expired %s: certificate %d, %s", c.NotAfter.UTC().Format(time.RFC3339), i+1, c.Subject)
		case now.Before(c.NotBefore):
			return fmt.Sprintf("not valid before %s: certificate %d, %s", c.NotBefore.UTC().Format(time.RFC3339), i+1, c.Subject)
		case !c.IsCA:
			return fmt.Sprintf("not an authority: certificate %d, %s: it lets in the client that shows it, and nobody else", i+1, c.Subject)
		}
	}
	return ""
}
