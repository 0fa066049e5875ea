package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"testing"
)

func TestAdmission(t *testing.T) {
	clients, others := newAuthority("clients"), newAuthority("others")
	as := func(ca *authority, cn string) []tls.Certificate {
		return []tls.Certificate{ca.client(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: cn} })}
	}
	app := startTCPApp(t, echo)
	tests := []struct {
		name   string
		auth   tls.ClientAuthType
		access Access
		certs  []tls.Certificate
		want   string // the result of the handshake
	}{
		{"required, match", tls.RequireAndVerifyClientCert, Access{CN: []string{"bob"}}, as(clients, "bob"), "ok"},
		{"required, no match", tls.RequireAndVerifyClientCert, Access{CN: []string{"bob"}}, as(clients, "eve"), "denied"},
		{"required, all", tls.RequireAndVerifyClientCert, Access{All: true}, as(clients, "eve"), "ok"},
		{"required, no choice", tls.RequireAndVerifyClientCert, Access{}, as(clients, "eve"), "denied"},
		{"required, none", tls.RequireAndVerifyClientCert, Access{All: true}, nil, "client_certificate"},
		{"required, other CA", tls.RequireAndVerifyClientCert, Access{CN: []string{"bob"}}, as(others, "bob"), "client_certificate"},
		{"optional, none", tls.VerifyClientCertIfGiven, Access{CN: []string{"bob"}}, nil, "ok"},
		{"optional, match", tls.VerifyClientCertIfGiven, Access{CN: []string{"bob"}}, as(clients, "bob"), "ok"},
		{"optional, no match", tls.VerifyClientCertIfGiven, Access{CN: []string{"bob"}}, as(clients, "eve"), "denied"},
		{"optional, other CA", tls.VerifyClientCertIfGiven, Access{CN: []string{"bob"}}, as(others, "bob"), "client_certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, app, inTCPMode(func(p *Proxy) { withClientCA(t, p.Certificates, clients, tt.auth, tt.access) }))
			config := tlsConfig()
			// Whatever CAs the server names: show it this one.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if tt.certs == nil {
					return &tls.Certificate{}, nil
				}
				return &tt.certs[0], nil
			}
			if got := pings(s, config); got != (tt.want == "ok") {
				t.Errorf("let in: %v", got)
			}
			eventually(t, "counted as "+tt.want, func() bool { return s.metric(t, "handshakes_total", "result="+tt.want) == 1 })
		})
	}
}

func TestAccess(t *testing.T) {
	cert := must(x509.ParseCertificate(newAuthority("x").client(func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "bob", OrganizationalUnit: []string{"sales", "east"}}
		c.DNSNames = []string{"bob.example", "*.bob.example"}
		c.URIs = append(c.URIs, mustURL("spiffe://example/ns/web/sa/bob"))
	}).Certificate[0]))
	bare := must(x509.ParseCertificate(newAuthority("x").client(nil).Certificate[0]))
	tests := []struct {
		name   string
		access Access
		want   bool
	}{
		{"nobody", Access{}, false},
		{"all", Access{All: true}, true},
		{"CN", Access{CN: []string{"alice", "bob"}}, true},
		{"empty CN", Access{CN: []string{""}}, false},
		{"CN in capitals", Access{CN: []string{"BOB"}}, false},
		{"part of CN", Access{CN: []string{"bo"}}, false},
		{"OU", Access{OU: []string{"east"}}, true},
		{"other OU", Access{OU: []string{"west"}}, false},
		{"CN as OU", Access{OU: []string{"bob"}}, false},
		{"DNS", Access{DNS: []string{"BOB.example"}}, true},
		{"DNS below a wildcard", Access{DNS: []string{"a.bob.example"}}, false},
		{"DNS wildcard is a name", Access{DNS: []string{"*.bob.example"}}, true},
		{"URI", Access{URI: []string{"spiffe://example/ns/web/sa/bob"}}, true},
		{"URI with a wildcard", Access{URI: []string{"spiffe://example/ns/*/sa/bob"}}, true},
		{"URI with a rest", Access{URI: []string{"spiffe://example/**"}}, true},
		{"URI of another host", Access{URI: []string{"spiffe://*.example/**"}}, false},
		{"one of several", Access{CN: []string{"alice"}, URI: []string{"spiffe://example/**"}}, true},
	}
	for _, tt := range tests {
		err := tt.access.Admit(cert)
		if (err == nil) != tt.want || err != nil && !errors.Is(err, errDenied) {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if err := tt.access.Admit(bare); err == nil && !tt.access.All {
			t.Errorf("%s: a certificate that says nothing was admitted", tt.name)
		}
	}
}

func TestMatchURI(t *testing.T) {
	tests := []struct {
		pattern, uri string
		want         bool
	}{
		{"spiffe://a/b", "spiffe://a/b", true},
		{"spiffe://a/b", "spiffe://a/b/c", false},
		{"spiffe://a/b", "spiffe://a", false},
		{"spiffe://a/*", "spiffe://a/b", true},
		{"spiffe://a/*", "spiffe://a/b/c", false},
		{"spiffe://a/*", "spiffe://a/", false},
		{"spiffe://a/*", "spiffe://a", false},
		{"spiffe://a/*/c", "spiffe://a/b/c", true},
		{"spiffe://a/*/c", "spiffe://a/b/d", false},
		{"spiffe://a/**", "spiffe://a/b/c", true},
		{"spiffe://a/**", "spiffe://a/", false},
		{"spiffe://a/**", "spiffe://b/c", false},
		{"spiffe://a/b*", "spiffe://a/bc", false},
	}
	for _, tt := range tests {
		if got := matchURI(tt.pattern, tt.uri); got != tt.want {
			t.Errorf("%s matches %s: %v", tt.pattern, tt.uri, got)
		}
	}
}

// FuzzMatchURI: a pattern without wildcards matches itself and nothing else;
// no pattern matches what does not begin like it.
func FuzzMatchURI(f *testing.F) {
	f.Add("spiffe://a/*/c", "spiffe://a/b/c")
	f.Add("spiffe://a/**", "spiffe://a/b")
	f.Fuzz(func(t *testing.T, pattern, uri string) {
		got := matchURI(pattern, uri)
		literal, _, wild := strings.Cut(pattern, "*")
		if !wild && got != (pattern == uri) {
			t.Errorf("%q matches %q: %v", pattern, uri, got)
		}
		begin := literal[:strings.LastIndexByte(literal, '/')+1]
		if got && !strings.HasPrefix(uri, begin) {
			t.Errorf("%q matches %q", pattern, uri)
		}
	})
}
