package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"distlab/containers/internal/whole"
)

// selfSigned makes a certificate for the names (DNS names, wildcards, IP
// addresses or URIs) that vouches for itself: ECDSA P-256, a random 128-bit
// serial.
func selfSigned(names []string, valid time.Duration) (cert, key []byte, err error) {
	if len(names) == 0 {
		return nil, nil, errors.New("no name to make a certificate for")
	}
	if valid <= 0 {
		return nil, nil, fmt.Errorf("a certificate cannot be valid for %s", valid)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), // RFC 5280 wants it positive
		Subject:      pkix.Name{CommonName: names[0], Organization: []string{"tls-sidecar self-signed"}},
		NotBefore:    now.Add(-time.Minute), // clocks differ
		NotAfter:     now.Add(valid),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// Its own authority, so that `curl --cacert` can be given it.
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, name := range names {
		if err := addName(template, name); err != nil {
			return nil, nil, err
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return cert, key, nil
}

func addName(c *x509.Certificate, name string) error {
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = append(c.IPAddresses, ip)
		return nil
	}
	if strings.Contains(name, "://") {
		u, err := url.Parse(name)
		if err != nil {
			return fmt.Errorf("name %q: %w", name, err)
		}
		c.URIs = append(c.URIs, u)
		return nil
	}
	if name == "" || strings.ContainsFunc(name, notInDNSName) {
		return fmt.Errorf("name %q: not a DNS name, an IP address or a URI", name)
	}
	c.DNSNames = append(c.DNSNames, name)
	return nil
}

func notInDNSName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.*", r))
}

// writePair puts a pair where files says, each file at once: temporary file,
// sync, rename. The key goes first and is readable by its owner only. Who
// reads between the two renames sees a pair that does not match, and keeps the
// old one.
func writePair(files PairFiles, cert, key []byte) error {
	if files.Key == "" {
		return whole.Write(files.Cert, append(cert[:len(cert):len(cert)], key...), 0o600)
	}
	if err := whole.Write(files.Key, key, 0o600); err != nil {
		return err
	}
	return whole.Write(files.Cert, cert, 0o644)
}
