package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHeadersEndToEnd is what the app sees of a client that lies in every way
// that a header can be spelt.
func TestHeadersEndToEnd(t *testing.T) {
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+"\n")
		r.Header.Write(w)
	})
	both(t, func(t *testing.T, version int) {
		s := start(t, app, nil)
		req := must(http.NewRequest("GET", s.url("/"), nil))
		req.Host = "app.example"
		for _, name := range []string{
			"X-Forwarded-For", "X_Forwarded_For", "x.forwarded.for", "X-Forwarded-Proto", "X-Forwarded-Host",
			"Forwarded", "X-Real-IP", "X_Real_IP", "X-Client-Cert-Cn", "X_Client_Cert_CN", "X-Forwarded-Client-Cert", "Client-Cert", "Proxy",
		} {
			req.Header[name] = []string{"forged"}
		}
		req.Header.Set("Connection", "X-Forwarded-For, X-Real-Ip")
		if version == 2 {
			req.Header.Del("Connection")
		}
		resp, err := s.client(t, version, nil).Do(req)
		check(t, err)
		defer resp.Body.Close()
		got := string(must(io.ReadAll(resp.Body)))
		if strings.Contains(got, "forged") {
			t.Errorf("the app saw a forged header:\n%s", got)
		}
		for _, want := range []string{"app.example\n", "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n", "X-Real-Ip: 127.0.0.1\r\n", "X-Forwarded-Host: app.example\r\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("the app did not see %q:\n%s", want, got)
			}
		}
	})
}

// TestIdentity is what the app is told of a client with a certificate.
func TestIdentity(t *testing.T) {
	clients := newAuthority("client CA")
	app := startApp(t, func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if strings.Contains(name, "Client-Cert") {
				io.WriteString(w, name+": "+strings.Join(values, "|")+"\n")
			}
		}
	})
	s := start(t, app, func(p *Proxy) {
		withClientCA(t, p.Certificates, clients, tls.VerifyClientCertIfGiven, Access{All: true})
	})
	cert := clients.client(func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "bob\r\nX-Evil: 1", Organization: []string{`A, "B"`}, OrganizationalUnit: []string{"sales,east", "50%"}}
		c.DNSNames = []string{"bob.example", "bob2.example"}
		c.URIs = append(c.URIs, mustURL("spiffe://example/a;b"))
	})
	leaf := cert.Leaf
	want := map[string]string{
		"X-Client-Cert-Subject":     `CN=bob%0D%0AX-Evil: 1,OU=50%25+OU=sales\,east,O=A\, \"B\"`,
		"X-Client-Cert-Issuer":      "CN=client CA",
		"X-Client-Cert-Cn":          "bob%0D%0AX-Evil: 1",
		"X-Client-Cert-Ou":          "50%25,sales%2Ceast",
		"X-Client-Cert-Dns":         "bob.example,bob2.example",
		"X-Client-Cert-Uri":         "spiffe://example/a;b",
		"X-Client-Cert-Serial":      serialOf(leaf),
		"X-Client-Cert-Fingerprint": fingerprint(leaf),
		"X-Client-Cert-Not-After":   leaf.NotAfter.UTC().Format("2006-01-02T15:04:05Z"),
		"X-Forwarded-Client-Cert": "Hash=" + fingerprint(leaf) + `;Subject="CN=bob%0D%0AX-Evil: 1,OU=50%25+OU=sales\\,east,O=A\\, \\\"B\\\""` +
			`;URI=spiffe://example/a%3Bb;DNS=bob.example;DNS=bob2.example`,
	}
	both(t, func(t *testing.T, version int) {
		c := s.client(t, version, func(config *tls.Config) { config.Certificates = []tls.Certificate{cert} })
		_, text := get(t, c, s.url("/"))
		got := map[string]string{}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			got[name] = value
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with a certificate (-want +got):\n%s", diff)
		}
		if _, text := get(t, s.client(t, version, nil), s.url("/")); text != "" {
			t.Errorf("without one the app saw:\n%s", text)
		}
	})
}
