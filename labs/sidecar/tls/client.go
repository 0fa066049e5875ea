package tls

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// way is how a client comes.
type way struct {
	name  string
	http2 bool
	anew  bool // a connection for each request
}

var (
	kept   = way{name: "HTTP/1.1, kept"}
	anew   = way{name: "HTTP/1.1, anew", anew: true}
	second = way{name: "HTTP/2", http2: true}
)

// visitor asks the pod's published port, on this machine, in one way.
type visitor struct {
	way
	base   string
	client *http.Client
}

// visit makes a visitor; with roots it verifies the certificate, and for localhost.
func visit(m *check.M, w way, roots *x509.CertPool) visitor {
	var protocols http.Protocols
	protocols.SetHTTP1(!w.http2)
	protocols.SetHTTP2(w.http2)
	return visitor{w, "https://" + m.Address(pod, httpsPort), &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{ServerName: "localhost", RootCAs: roots, InsecureSkipVerify: roots == nil},
			Protocols:         &protocols,
			DisableKeepAlives: w.anew, DisableCompression: true,
		},
	}}
}

// answer is a whole one.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request; headers are names and values in turns. A body of no length says that it is sent in chunks.
func (v visitor) ask(ctx context.Context, method, path string, body io.Reader, headers ...string) (a answer, err error) {
	req, err := http.NewRequestWithContext(ctx, method, v.base+path, body)
	if err != nil {
		return a, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1]) // as it is spelled
	}
	res, err := v.client.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	if want := map[bool]int{false: 1, true: 2}[v.http2]; res.ProtoMajor != want {
		return a, fmt.Errorf("answered by %s", res.Proto)
	}
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, text}, err
}

// is asks for a page and wants that status.
func (v visitor) is(ctx context.Context, status int) error {
	a, err := v.ask(ctx, http.MethodGet, "/about", nil)
	if err == nil && a.status != status {
		err = fmt.Errorf("status %d", a.status)
	}
	return err
}

// alphabet is a body that this lab knows, of any length.
func alphabet(n int) []byte {
	return bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz"), n/26+1)[:n]
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// hello is a ClientHello: what a client that shakes hands offers.
type hello struct {
	name    string
	sni     string // "" names no host
	version uint16 // the only one; 0: 1.2 and 1.3
	alpn    []string
	cache   tls.ClientSessionCache
}

// shake makes one handshake with the published port.
func (h hello) shake(ctx context.Context, m *check.M) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	config := &tls.Config{
		ServerName: h.sni, InsecureSkipVerify: true, NextProtos: h.alpn, ClientSessionCache: h.cache,
		MinVersion: tls.VersionTLS10, MaxVersion: h.version, CipherSuites: everySuite(),
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", m.Address(pod, httpsPort))
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if h.cache != nil { // a ticket comes with the first answer
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, "GET /about HTTP/1.0\r\n\r\n")
		io.Copy(io.Discard, conn)
	}
	return conn.(*tls.Conn).ConnectionState(), nil
}

// everySuite is all that Go can speak, so that a refusal is for the version alone.
func everySuite() (ids []uint16) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, s.ID)
	}
	return ids
}

// alerted says that the peer itself refused the handshake, by an alert: nothing else is a refusal.
func alerted(err error) bool { return strings.HasPrefix(err.Error(), "remote error: tls: ") }
