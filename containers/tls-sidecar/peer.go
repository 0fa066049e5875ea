package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// peer is what the app is told of a client that showed a certificate. It is
// worked out once per connection.
type peer struct {
	headers [][2]string
}

// newPeer is nil for a client without a verified certificate.
func newPeer(state tls.ConnectionState) *peer {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return peerOf(state.PeerCertificates[0])
}

func peerOf(c *x509.Certificate) *peer {
	p := &peer{}
	add := func(name string, values ...string) {
		for i := range values {
			values[i] = escaped(values[i], ",")
		}
		p.headers = append(p.headers, [2]string{name, strings.Join(values, ",")})
	}
	p.headers = append(p.headers, [2]string{"X-Forwarded-Client-Cert", xfcc(c)})
	p.headers = append(p.headers, [2]string{"X-Client-Cert-Subject", escaped(c.Subject.String(), "")})
	p.headers = append(p.headers, [2]string{"X-Client-Cert-Issuer", escaped(c.Issuer.String(), "")})
	add("X-Client-Cert-Cn", c.Subject.CommonName)
	add("X-Client-Cert-Ou", append([]string(nil), c.Subject.OrganizationalUnit...)...)
	add("X-Client-Cert-Dns", append([]string(nil), c.DNSNames...)...)
	add("X-Client-Cert-Uri", uris(c)...)
	add("X-Client-Cert-Serial", serialOf(c))
	add("X-Client-Cert-Fingerprint", fingerprint(c))
	add("X-Client-Cert-Not-After", c.NotAfter.UTC().Format(time.RFC3339))
	return p
}

// apply leaves out what the certificate does not say. A nil peer says nothing.
func (p *peer) apply(out http.Header) {
	if p == nil {
		return
	}
	for _, h := range p.headers {
		if h[1] != "" {
			out[h[0]] = []string{h[1]}
		}
	}
}

// lines are the same as header lines.
func (p *peer) lines() (text []byte) {
	if p == nil {
		return nil
	}
	for _, h := range p.headers {
		if h[1] != "" {
			text = append(text, h[0]+": "+h[1]+"\r\n"...)
		}
	}
	return text
}

// xfcc is Envoy's header.
//
// Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
func xfcc(c *x509.Certificate) string {
	var b strings.Builder
	b.WriteString("Hash=" + fingerprint(c))
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	fmt.Fprintf(&b, `;Subject="%s"`, quote.Replace(escaped(c.Subject.String(), "")))
	for _, u := range uris(c) {
		b.WriteString(";URI=" + escaped(u, `,;="`))
	}
	for _, name := range c.DNSNames {
		b.WriteString(";DNS=" + escaped(name, `,;="`))
	}
	return b.String()
}

// escaped writes with %XX whatever is not printable ASCII, "%" itself, and the
// separators: whoever signs a certificate with a line break in its name does
// not get to write headers.
func escaped(s, separators string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '%' || strings.IndexByte(separators, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
