// Package env reads a container's settings from environment variables into a
// tagged struct, and prints the documentation of the same struct.
//
// A container has one source of truth for its settings: the struct. The
// program reads it, -h and the README print it, and conformance_test.go
// compares the Dockerfile's ENV with it. So the documentation cannot be wrong.
//
//	type config struct {
//		Listen env.Addr      `env:"LISTEN_ADDR" default:":8443" help:"address to accept TLS on"`
//		Port   int           `env:"PROXY_PORT" min:"1" max:"65535" help:"port on localhost to forward to"`
//		Mode   string        `env:"MODE" default:"http" oneof:"http|tcp" help:"what is inside TLS"`
//		Linger time.Duration `env:"LINGER" default:"0s" help:"how long to wait"`
//		Token  string        `env:"TOKEN" default:"" secret:"true" help:"bearer token"`
//		daemon.Config
//	}
//
//	var cfg config
//	err := env.Load(&cfg, os.LookupEnv)
//
// Tags: env is the name; default is used where the variable is unset (no
// default tag: the variable is required); help says what it is, in lower case;
// oneof lists the values allowed; min and max bound numbers, durations and
// sizes; secret:"true" also reads NAME_FILE and never shows the value.
//
// A variable set to nothing counts as unset: that is what compose passes for
// NAME=${NAME:-}. Fields without an env tag are left alone, embedded structs
// are walked and documented last. A mistake in the tags themselves is a
// programmer's, and panics.
//
// Source: the twelve-factor app, III. Config (https://12factor.net/config);
// NAME_FILE is the convention of the official Docker images.
package env

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
)

// maxSecret bounds a NAME_FILE: a path that names something endless, such as
// /dev/zero, must be an error and not a full memory.
const maxSecret = 64 << 10

// Load fills the struct that dst points to. Each variable is asked of lookup,
// os.LookupEnv in a program. The error names every bad variable, one line
// each; dst is then filled only in part and must not be used.
func Load(dst any, lookup func(string) (string, bool)) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("env: Load needs a pointer to a struct, not %T", dst))
	}
	var bad []error
	for _, f := range fields(v.Elem()) {
		if err := f.load(lookup); err != nil {
			bad = append(bad, err)
		}
	}
	return errors.Join(bad...)
}

// load reads one setting. Its error is one whole line.
func (f *field) load(lookup func(string) (string, bool)) error {
	text, origin, err := f.text(lookup)
	if err != nil {
		return err
	}
	if text == "" {
		if f.Required {
			if f.Secret {
				return fmt.Errorf("%s: required, here or in %s_FILE (%s)", f.Name, f.Name, f.Help)
			}
			return fmt.Errorf("%s: required (%s)", f.Name, f.Help)
		}
		text = f.Default
	}
	if err := f.set(text); err != nil {
		if f.Secret {
			// The cause may quote the value: only what was wanted is said.
			return fmt.Errorf("%s: not %s (value not shown)", origin, f.kind.want)
		}
		return fmt.Errorf("%s=%q: %w", origin, text, err)
	}
	return nil
}

// text is the setting's raw text and the variable that it came from.
func (f *field) text(lookup func(string) (string, bool)) (text, origin string, err error) {
	text, _ = lookup(f.Name)
	if !f.Secret {
		return text, f.Name, nil
	}
	origin = f.Name + "_FILE"
	path, _ := lookup(origin)
	switch {
	case path == "":
		return text, f.Name, nil
	case text != "":
		return "", "", fmt.Errorf("%s: set here and in %s, only one is allowed (value not shown)", f.Name, origin)
	}
	text, err = readSecret(path)
	if err != nil {
		return "", "", fmt.Errorf("%s=%q: %w", origin, path, err)
	}
	return text, origin, nil
}

// readSecret reads a secret file without the line end that editors add. Its
// errors leave out the path, which the message has already.
func readSecret(path string) (string, error) {
	text, err := readBounded(path)
	var cause *os.PathError
	switch {
	case errors.As(err, &cause):
		return "", cause.Err
	case err != nil:
		return "", err
	case len(text) > maxSecret:
		return "", fmt.Errorf("larger than %s", Bytes(maxSecret))
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", errors.New("an empty file")
	}
	return secret, nil
}

// readBounded reads one byte more than is allowed, at most.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxSecret+1))
}
