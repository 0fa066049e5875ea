package bench

import (
	"context"
	"fmt"
	"net"
	"strings"

	"distlab/lab/check"
)

// agreed is what a subject and a client agree on: it decides how much work TLS is.
type agreed struct{ version, cipher, certificate string }

// same makes sure that all targets that speak TLS do the same work: the same version and cipher, with the same certificate.
// Otherwise nothing could be compared.
func (s *session) same(ctx context.Context, w check.Workload) error {
	var first agreed
	var from string
	for _, t := range w.Targets {
		if !speaksTLS(w.Load, t.At) {
			continue
		}
		host, port := hostPort(t.At)
		at := net.JoinHostPort(host, port)
		now, known := s.tls[at]
		if !known {
			var a check.TLSAnswer
			if err := s.ask(ctx, &a, "tls", "-insecure", "-min", "1.3", "-timeout", "10s", at); err != nil {
				return err
			}
			if !a.Handshake || len(a.Certificates) == 0 {
				return fmt.Errorf("%s: no handshake of TLS 1.3 at %s: %s", t.Subject, at, a.Error)
			}
			now = agreed{a.Version, a.Cipher, a.Certificates[0].SHA256}
			s.tls[at] = now
		}
		if from == "" {
			first, from = now, t.Subject
		}
		if err := differ(from, first, t.Subject, now); err != nil {
			return err
		}
	}
	return nil
}

// differ says how two subjects do not do the same work, if so.
func differ(a string, first agreed, b string, now agreed) error {
	for _, c := range []struct{ what, a, b string }{
		{"version", first.version, now.version},
		{"cipher", first.cipher, now.cipher},
		{"certificate", first.certificate, now.certificate},
	} {
		if c.a != c.b {
			return fmt.Errorf("not the same work: TLS %s of %s is %s, of %s %s", c.what, a, c.a, b, c.b)
		}
	}
	return nil
}

func speaksTLS(load check.LoadKind, at string) bool {
	switch l := load.(type) {
	case check.Handshakes:
		return true
	case check.Idle:
		return l.TLS
	}
	return strings.HasPrefix(at, "https://")
}
