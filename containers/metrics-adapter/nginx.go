package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/dial"
)

// mostStatus is how much of an answer is read; stub_status is about a hundred bytes.
const mostStatus = 64 << 10

// statusError is an answer that is not 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d, want 200", int(e)) }

// statusURL says where a stub_status is.
type statusURL struct {
	url    string
	host   string // of the URL
	socket string // path of a Unix socket, or ""
}

// parseStatusURL reads http://host:port/path, https://… and unix:/path/of/socket:/path.
func parseStatusURL(text string) (statusURL, error) {
	if rest, ok := strings.CutPrefix(text, "unix:"); ok {
		socket, path, _ := strings.Cut(rest, ":")
		if !strings.HasPrefix(socket, "/") || path != "" && !strings.HasPrefix(path, "/") {
			return statusURL{}, fmt.Errorf("%q is not an nginx: unix:/path/of/socket:/path", text)
		}
		if path == "" {
			path = "/"
		}
		return statusURL{url: "http://localhost" + path, host: "localhost", socket: socket}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return statusURL{}, fmt.Errorf("%q is not an nginx: http://host:port/path, https, or unix:/path/of/socket:/path", text)
	}
	return statusURL{url: text, host: u.Hostname()}, nil
}

// Nginx is an nginx with stub_status: https://nginx.org/en/docs/http/ngx_http_stub_status_module.html.
type Nginx struct {
	at     statusURL
	client *http.Client
}

// newNginx has a transport of its own: what is shared between targets can be mistaken for one another's. No connection is
// kept, or it would count as one that waits.
func newNginx(at statusURL, tlsConfig *tls.Config) *Nginx {
	connect := new(dial.Dialer).DialContext
	if at.socket != "" {
		connect = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", at.socket)
		}
	}
	return &Nginx{at: at, client: &http.Client{
		Transport:     &http.Transport{DialContext: connect, TLSClientConfig: tlsConfig, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // to whom it was not given
		Timeout:       time.Hour,                                                                     // the collection's ends before
	}}
}

// Collect asks for the page.
func (n *Nginx) Collect(ctx context.Context) (*page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.at.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "metrics-adapter")
	res, err := n.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, statusError(res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, mostStatus))
	if err != nil {
		return nil, err
	}
	s, err := parseStubStatus(string(body))
	if err != nil {
		return nil, err
	}
	p := &page{}
	p.add(gauge, "nginx_connections_active", "Connections of clients, those that wait included.", s.active)
	p.add(counter, "nginx_connections_accepted", "Connections that were accepted.", s.accepted)
	p.add(counter, "nginx_connections_handled", "Connections that were served.", s.handled)
	p.add(counter, "nginx_http_requests_total", "Requests.", s.requests)
	p.add(gauge, "nginx_connections_reading", "Connections whose request is being read.", s.reading)
	p.add(gauge, "nginx_connections_writing", "Connections that are being answered.", s.writing)
	p.add(gauge, "nginx_connections_waiting", "Connections without a request.", s.waiting)
	return p, nil
}

// Frame adds nginx_up.
func (n *Nginx) Frame(p *page, t tally) {
	p.add(gauge, "nginx_up", "1 if nginx gave its status.", truth(t.Up))
}

type stubStatus struct {
	active, accepted, handled, requests, reading, writing, waiting float64
}

// parseStubStatus reads the page by its words: relatives of nginx add columns and lines (Tengine: request_time).
func parseStubStatus(text string) (s stubStatus, err error) {
	named := map[string]float64{}
	var head []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "server":
			head = words[1:]
		case head != nil:
			for i, w := range words {
				if i < len(head) {
					note(named, head[i], w)
				}
			}
			head = nil
		default:
			name := "" // "Active connections: 1", "Reading: 0 Writing: 1 Waiting: 0"
			for _, w := range words {
				if cut, ok := strings.CutSuffix(w, ":"); ok {
					name = strings.ToLower(cut)
				} else if name != "" {
					note(named, name, w)
					name = ""
				}
			}
		}
	}
	for name, to := range map[string]*float64{
		"connections": &s.active, "accepts": &s.accepted, "handled": &s.handled, "requests": &s.requests,
		"reading": &s.reading, "writing": &s.writing, "waiting": &s.waiting,
	} {
		n, ok := named[name]
		if !ok {
			err = errors.Join(err, fmt.Errorf("%w: a page without %s", errProtocol, name))
		}
		*to = n
	}
	return s, err
}

// note notes a number; what is none is passed over.
func note(named map[string]float64, name, text string) {
	if n, err := strconv.ParseUint(text, 10, 63); err == nil {
		named[name] = float64(n)
	}
}
