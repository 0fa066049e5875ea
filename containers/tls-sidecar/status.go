package main

import (
	"time"
)

// status is what /status shows.
type status struct {
	State        string              `json:"state"` // ok, stopping
	Mode         string              `json:"mode"`
	Listen       string              `json:"listen"`
	Forward      string              `json:"forward"`
	Backend      backend             `json:"backend"`
	Certificates []certificateStatus `json:"certificates"`
	ClientAuth   clientAuthStatus    `json:"client_auth"`
	LastReload   Reloaded            `json:"last_reload"`
	LastGood     time.Time           `json:"last_good_reload"`
	Connections  connectionStatus    `json:"connections"`
}

type certificateStatus struct {
	Name        string    `json:"name"`
	Names       []string  `json:"names"`
	Serial      string    `json:"serial"`
	Fingerprint string    `json:"fingerprint"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Path        string    `json:"path,omitempty"` // of the certificate; none: it lives in memory
	Warning     string    `json:"warning,omitempty"`
}

type clientAuthStatus struct {
	Mode    string   `json:"mode"`
	CA      string   `json:"ca,omitempty"`
	CAs     []string `json:"ca_subjects,omitempty"`
	Warning string   `json:"warning,omitempty"`
}

type connectionStatus struct {
	Active   int   `json:"active"`
	Accepted int64 `json:"accepted"`
	Rejected int64 `json:"rejected"`
	InFlight int   `json:"in_flight"`
}

// status is the part of /status that the certificates know.
func (c *Certificates) status() (list []certificateStatus, clients clientAuthStatus, last Reloaded, good time.Time) {
	c.mu.Lock()
	last, good = c.last, c.good
	c.mu.Unlock()
	now := c.now.Load()
	for _, p := range now.pairs {
		list = append(list, certificateStatus{
			Name:        p.name(),
			Names:       p.names,
			Serial:      p.serial(),
			Fingerprint: fingerprint(p.leaf),
			NotBefore:   p.leaf.NotBefore.UTC(),
			NotAfter:    p.leaf.NotAfter.UTC(),
			Path:        p.files.Cert,
			Warning:     p.warning(time.Now()),
		})
	}
	if now.clients != nil {
		clients = clientAuthStatus{CA: c.ClientCA, CAs: now.clients.subjects(), Warning: now.clients.warning(time.Now())}
	}
	return list, clients, last, good
}

// connectionStatus is the part of /status that the proxy knows.
func (p *Proxy) connectionStatus() connectionStatus {
	s := connectionStatus{Active: p.open(), InFlight: p.inFlight()}
	s.Accepted, s.Rejected = p.door.Totals()
	return s
}
