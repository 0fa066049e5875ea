package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"distlab/containers/internal/pemfile"
)

// tlsFiles are the settings of TLS to the server. The modes are those of MySQL's own clients (--ssl-mode).
type tlsFiles struct {
	Mode       string `env:"TLS_MODE" default:"preferred" oneof:"disabled|preferred|required|verify-ca|verify-identity" help:"TLS to the server, as mysql's --ssl-mode"`
	CAPath     string `env:"TLS_CA_PATH" default:"" help:"PEM file of the authorities to trust with verify-ca and verify-identity; the system's without it"`
	CertPath   string `env:"TLS_CERT_PATH" default:"" help:"PEM file of a certificate to show to the server"`
	KeyPath    string `env:"TLS_KEY_PATH" default:"" help:"PEM file of that certificate's key"`
	ServerName string `env:"TLS_SERVER_NAME" default:"" help:"name in the server's certificate, in place of its host"`
}

// config is nil for no TLS. Files are read once: a new certificate takes a restart.
func (f tlsFiles) config(addr string) (*tls.Config, error) {
	if f.Mode == "disabled" {
		return nil, nil
	}
	name := f.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(addr)
	}
	cfg, err := pemfile.Client(name, f.CAPath, f.CertPath, f.KeyPath)
	if err != nil {
		return nil, err
	}
	switch f.Mode {
	case "preferred", "required": // against who listens, not against who pretends
		cfg.InsecureSkipVerify = true
	case "verify-ca":
		// A server's own certificate has no name that a client could know.
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, cfg.RootCAs) }
	}
	return cfg, nil
}

// verifyChain is the verification of a certificate but for its name.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}
