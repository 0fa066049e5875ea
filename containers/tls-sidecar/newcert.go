package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

// newCert rotates by hand: the running sidecar sees the new files by itself.
var newCert = daemon.Command{
	Name:    "new-cert",
	Summary: "write a fresh self-signed pair to CERT_PATH and KEY_PATH; -h lists its flags",
	Run:     runNewCert,
}

// newCertConfig is what the flags default to: the settings of the sidecar that
// it is run beside.
type newCertConfig struct {
	CertPath string        `env:"CERT_PATH" default:"" help:"certificate"`
	KeyPath  string        `env:"KEY_PATH" default:"" help:"key"`
	Names    []string      `env:"SELF_SIGNED_NAMES" default:"localhost,127.0.0.1,::1" help:"names"`
	Valid    time.Duration `env:"SELF_SIGNED_VALID" default:"8760h" min:"1s" help:"validity"`
}

func runNewCert(_ context.Context, args []string, stdout, stderr io.Writer) int {
	var cfg newCertConfig
	if err := env.Load(&cfg, os.LookupEnv); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	flags := flag.NewFlagSet(name+" new-cert", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := flags.String("names", strings.Join(cfg.Names, ","), "names, addresses and URIs that the certificate is for")
	valid := flags.Duration("valid", cfg.Valid, "how long it is valid")
	cert := flags.String("cert", cfg.CertPath, "where to write the certificate")
	key := flags.String("key", cfg.KeyPath, "where to write the key; none: into the certificate's file")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "%s new-cert: unknown argument %q\n", name, flags.Arg(0))
		return 2
	case *cert == "":
		fmt.Fprintf(stderr, "%s new-cert: no file to write to: set CERT_PATH or give -cert\n", name)
		return 2
	}
	serial, err := rotate(PairFiles{*cert, *key}, splitList(*names), *valid)
	if err != nil {
		fmt.Fprintf(stderr, "%s new-cert: %v\n", name, err)
		return 1
	}
	fmt.Fprintf(stdout, "serial %s\n", serial)
	return 0
}

// rotate writes a fresh pair and returns its serial.
func rotate(files PairFiles, names []string, valid time.Duration) (serial string, err error) {
	cert, key, err := selfSigned(names, valid)
	if err != nil {
		return "", err
	}
	p, err := newPair(cert, key)
	if err != nil {
		return "", err
	}
	return p.serial(), writePair(files, cert, key)
}

func splitList(s string) []string {
	var list []string
	for _, item := range strings.Split(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
