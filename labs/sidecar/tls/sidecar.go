package tls

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"iter"
	"math/big"
	"net/http"
	"time"

	"distlab/lab/check"
)

// serving is the serial of the certificate that a new connection to the published port is shown, in hex.
func serving(ctx context.Context, s *check.Stack) (string, error) {
	addr, err := s.Address(ctx, pod, httpsPort)
	if err != nil {
		return "", err
	}
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Text(16), nil
}

// get asks the published port once, on a connection of its own.
func get(ctx context.Context, s *check.Stack, path string) (int, error) {
	addr, err := s.Address(ctx, pod, httpsPort)
	if err != nil {
		return 0, err
	}
	return fetch(ctx, "https://"+addr+path, nil)
}

// status is the part of the sidecar's /status that the claims read.
type status struct {
	LastReload struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	} `json:"last_reload"`
}

func readStatus(ctx context.Context, s *check.Stack) (status, error) {
	var st status
	addr, err := s.Address(ctx, pod, adminPort)
	if err != nil {
		return st, err
	}
	code, err := fetch(ctx, "http://"+addr+"/status", &st)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/status answers %d", code)
	}
	return st, err
}

// ready is the code of the sidecar's /readyz.
func ready(ctx context.Context, s *check.Stack) (int, error) {
	addr, err := s.Address(ctx, pod, adminPort)
	if err != nil {
		return 0, err
	}
	return fetch(ctx, "http://"+addr+"/readyz", nil)
}

func fetch(ctx context.Context, url string, into any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			return 0, fmt.Errorf("%s: %w", url, err)
		}
	}
	return res.StatusCode, nil
}

// pair is a fresh self-signed certificate with its key.
type pair struct {
	serial    string // hex
	cert, key []byte // PEM
}

func newPair() (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost", pod},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return pair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{serial: serial.Text(16), cert: inPEM("CERTIFICATE", der), key: inPEM("PRIVATE KEY", keyDER)}, nil
}

func inPEM(kind string, der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a buffer takes everything
	return b.Bytes()
}

func keys(m map[string]string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
