package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"distlab/containers/internal/forward"
)

// Origin is a server that is asked, for one host or for all: http://words:8080, or shop.example=http://shop:8080.
type Origin struct {
	Host string // in lower case; "": all that have none of their own
	Addr string // host:port
}

// UnmarshalText is for the settings.
func (o *Origin) UnmarshalText(text []byte) error {
	host, at, named := strings.Cut(string(text), "=")
	if !named {
		host, at = "", host
	}
	u, err := url.Parse(strings.TrimSpace(at))
	if err != nil || u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return errors.New("not an address like http://app:8080, or shop.example=http://app:8080")
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("no such port")
	}
	o.Host, o.Addr = strings.ToLower(strings.TrimSpace(host)), net.JoinHostPort(u.Hostname(), port)
	return nil
}

// MarshalText is what UnmarshalText reads.
func (o Origin) MarshalText() ([]byte, error) {
	if o.Host == "" {
		return []byte("http://" + o.Addr), nil
	}
	return []byte(o.Host + "=http://" + o.Addr), nil
}

// Origins finds the server for a host.
type Origins struct {
	byHost map[string]*forward.Backend
}

// NewOrigins refuses two for one host.
func NewOrigins(list []Origin) (Origins, error) {
	o := Origins{map[string]*forward.Backend{}}
	for _, at := range list {
		if o.byHost[at.Host] != nil {
			return o, fmt.Errorf("two origins for %q", at.Host)
		}
		o.byHost[at.Host] = &forward.Backend{Addr: at.Addr}
	}
	if len(list) == 0 {
		return o, errors.New("no origin")
	}
	return o, nil
}

// Find is the origin of a Host in lower case, whatever its port; nil: there is none.
func (o Origins) Find(host string) *forward.Backend {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	if b := o.byHost[host]; b != nil {
		return b
	}
	return o.byHost[""]
}
