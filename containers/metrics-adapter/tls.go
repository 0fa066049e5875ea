package main

import (
	"crypto/tls"
	"errors"
	"fmt"

	"distlab/containers/internal/pemfile"
)

// tlsFiles are the settings of TLS to the targets.
type tlsFiles struct {
	CAPath     string `env:"TLS_CA_PATH" default:"" help:"file with the CA that signed the targets' certificates; the image has no system CAs"`
	CertPath   string `env:"TLS_CERT_PATH" default:"" help:"file with a client certificate"`
	KeyPath    string `env:"TLS_KEY_PATH" default:"" help:"file with the client certificate's key"`
	ServerName string `env:"TLS_SERVER_NAME" default:"" help:"name that the targets' certificates must have; each target's host without it"`
}

// config is for one host. Files are read once, so that a wrong path is a failure at the start.
func (f tlsFiles) config(host string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if f.ServerName != "" {
		cfg.ServerName = f.ServerName
	}
	if f.CAPath != "" {
		var err error
		if cfg.RootCAs, err = pemfile.Pool(f.CAPath); err != nil {
			return nil, fmt.Errorf("TLS_CA_PATH: %w", err)
		}
	}
	if (f.CertPath == "") != (f.KeyPath == "") {
		return nil, errors.New("TLS_CERT_PATH and TLS_KEY_PATH: one without the other: a client certificate is both")
	}
	if f.CertPath != "" {
		pair, err := pemfile.LoadPair(f.CertPath, f.KeyPath)
		if err != nil {
			return nil, fmt.Errorf("TLS_CERT_PATH and TLS_KEY_PATH: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
