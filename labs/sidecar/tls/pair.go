package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	"distlab/lab/check"
)

// pair is a fresh self-signed certificate with its key.
type pair struct {
	serial    string // hex
	cert, key []byte // PEM
}

func newPair() pair {
	key := check.Got(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	serial := check.Got(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost", pod},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der := check.Got(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	keyDER := check.Got(x509.MarshalPKCS8PrivateKey(key))
	return pair{serial: serial.Text(16), cert: inPEM("CERTIFICATE", der), key: inPEM("PRIVATE KEY", keyDER)}
}

func inPEM(kind string, der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a buffer takes everything
	return b.Bytes()
}
