package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// tlsFlags are the flags about TLS that several subcommands share. Certificates and keys are PEM text: a container
// from scratch has no files.
type tlsFlags struct {
	ca, cert, key, sni string
	insecure           bool
}

func (f *tlsFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.ca, "ca", "", "trust this authority only, `PEM` text")
	fs.BoolVar(&f.insecure, "insecure", false, "do not verify the peer's certificate")
	fs.StringVar(&f.cert, "cert", "", "show this client certificate, `PEM` text")
	fs.StringVar(&f.key, "key", "", "the client certificate's key, `PEM` text")
	fs.StringVar(&f.sni, "sni", "", "the `name` to ask for and to verify, in place of the address's")
}

// config is the TLS configuration that the flags describe.
func (f *tlsFlags) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: f.sni, InsecureSkipVerify: f.insecure, MinVersion: tls.VersionTLS12}
	if f.insecure && f.ca != "" {
		return nil, wrong("-ca and -insecure exclude each other")
	}
	if f.ca != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(f.ca)) {
			return nil, wrong("-ca: no certificate in PEM form")
		}
	}
	if (f.cert == "") != (f.key == "") {
		return nil, wrong("-cert and -key need each other")
	}
	if f.cert != "" {
		pair, err := tls.X509KeyPair([]byte(f.cert), []byte(f.key))
		if err != nil {
			return nil, wrong("-cert and -key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// requestFlags describe a request, for the subcommands that send some.
type requestFlags struct {
	tls          tlsFlags
	method, host string
	header       headerFlag
	data         string
	dataSize     int64
	http1, http2 bool
	timeout      time.Duration

	config *tls.Config // from tls, by check
	urls   []*url.URL  // by check
}

func (f *requestFlags) register(fs *flag.FlagSet, timeout time.Duration) {
	f.tls.register(fs)
	f.header = headerFlag{}
	fs.StringVar(&f.method, "method", "", "the `method`; GET, or POST where there is a body")
	fs.Var(f.header, "header", "a `'Key: value'` to send; may be repeated")
	fs.StringVar(&f.data, "data", "", "the body, as it stands")
	fs.Int64Var(&f.dataSize, "data-size", 0, "a body of so many `bytes`: the alphabet, over and over")
	fs.StringVar(&f.host, "host", "", "the Host `name` to send, in place of the address's")
	fs.BoolVar(&f.http1, "http1", false, "HTTP/1.1 only")
	fs.BoolVar(&f.http2, "http2", false, "HTTP/2 only, by prior knowledge where the URL is http")
	fs.DurationVar(&f.timeout, "timeout", timeout, "for the whole exchange")
}

// check reads what stands behind the flags, and refuses what cannot be meant.
func (f *requestFlags) check(args []string, most int) error {
	switch {
	case len(args) == 0:
		return wrong("needs a URL")
	case len(args) > most:
		return wrong("%d URLs: %s at most", len(args), plural(most, "URL"))
	case f.http1 && f.http2:
		return wrong("-http1 and -http2 exclude each other")
	case f.data != "" && f.dataSize != 0:
		return wrong("-data and -data-size exclude each other")
	case f.dataSize < 0:
		return wrong("-data-size %d: not a size", f.dataSize)
	case f.timeout <= 0:
		return wrong("-timeout %v: not a time", f.timeout)
	}
	if f.method == "" {
		f.method = http.MethodGet
		if f.data != "" || f.dataSize > 0 {
			f.method = http.MethodPost
		}
	}
	for _, arg := range args {
		u, err := url.Parse(arg)
		if err != nil {
			return usageError{err}
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return wrong("%q: not a URL with http or https and a host", arg)
		}
		f.urls = append(f.urls, u)
	}
	var err error
	if f.config, err = f.tls.config(); err != nil {
		return err
	}
	if _, err := f.request(f.urls[0]); err != nil {
		return usageError{err}
	}
	return nil
}

func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}

// request makes one; the body can be read again, as a redirect may need.
func (f *requestFlags) request(u *url.URL) (*http.Request, error) {
	req, err := http.NewRequest(f.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = http.Header(f.header).Clone()
	req.Host = f.host
	if n := f.dataSize + int64(len(f.data)); n > 0 {
		req.ContentLength = n
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(f.body()), nil }
		req.Body, _ = req.GetBody()
	}
	return req, nil
}

func (f *requestFlags) body() io.Reader {
	if f.data != "" {
		return strings.NewReader(f.data)
	}
	return io.LimitReader(&alphabet{}, f.dataSize)
}

// alphabet is an endless body: byte i is the letter i modulo 26.
type alphabet struct{ next int }

func (a *alphabet) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte('a' + a.next)
		a.next = (a.next + 1) % 26
	}
	return len(p), nil
}

// headerFlag collects -header flags.
type headerFlag http.Header

func (h headerFlag) String() string { return "" }

// Set takes one "Key: value".
func (h headerFlag) Set(s string) error {
	key, value, ok := strings.Cut(s, ":")
	value = strings.TrimSpace(value)
	switch {
	case !ok:
		return errors.New(`not a "Key: value"`)
	case strings.EqualFold(key, "Host"):
		return errors.New("the Host is -host's")
	case !httpguts.ValidHeaderFieldName(key) || !httpguts.ValidHeaderFieldValue(value):
		return errors.New("not a valid header")
	}
	http.Header(h).Add(key, value)
	return nil
}

// address checks a HOST:PORT, the only argument.
func address(args []string) (string, error) {
	if len(args) != 1 {
		return "", wrong("needs one HOST:PORT, not %d", len(args))
	}
	host, port, err := net.SplitHostPort(args[0])
	if err != nil {
		return "", usageError{err}
	}
	if host == "" || port == "" {
		return "", wrong("%q: not a HOST:PORT", args[0])
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "", usageError{fmt.Errorf("%q: %w", args[0], err)}
	}
	return args[0], nil
}
