package main

import (
	"cmp"
	"crypto/tls"

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
	return pemfile.Client(cmp.Or(f.ServerName, host), f.CAPath, f.CertPath, f.KeyPath)
}
