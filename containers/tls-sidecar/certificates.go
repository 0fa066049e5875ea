package main

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Certificates holds what the sidecar shows of itself and whom it believes:
// the pairs by name, and the client CA. What is on disk is loaded as a whole
// and checked before any of it is served, and one that fails the check leaves
// its last good content in force. Fields must not be changed after Load.
type Certificates struct {
	Files  []PairFiles // the first is the default, for clients that name none
	Dir    string      // more pairs, see findPairs
	Memory *pair       // instead of files: a pair that lives in memory

	ClientAuth tls.ClientAuthType // NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert
	ClientCA   string             // file of the CAs that client certificates must come from
	Access     Access             // of those, who is let in

	MinVersion uint16   // 0 is TLS 1.2, the floor
	NextProtos []string // ALPN
	StrictSNI  bool     // end the handshake of a client that names no certificate of ours

	Log     *slog.Logger // nil: none
	Metrics *Metrics     // nil: none

	mu      sync.Mutex // serialises Load and Reload; guards the following
	tickets [][32]byte // session ticket keys of the state in force
	last    Reloaded
	good    time.Time // of the last good reload

	now    atomic.Pointer[material]
	loaded string // signature of the files, from before Load read them
}

// material is one consistent state. It is never changed.
type material struct {
	pairs    []*pair
	byName   map[string][]*pair
	defaults []*pair // for clients that name none of these names: the first pair, then those that share a name with it
	clients  *authorities
	config   *tls.Config
}

// Reloaded is the outcome of a reload, or of the first load.
type Reloaded struct {
	Time       time.Time `json:"time"`
	Trigger    string    `json:"trigger"` // start, change, SIGHUP
	OK         bool      `json:"ok"`
	Error      string    `json:"error,omitempty"`
	KeptSerial string    `json:"kept_serial,omitempty"` // of the certificate whose new content was refused
}

// Load reads everything for the first time. Here nothing may be bad: there is
// no last good content yet.
func (c *Certificates) Load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded = signature(c.watched())
	next, bad := c.read(&material{})
	if len(bad) > 0 {
		return joined(bad)
	}
	if len(next.pairs) == 0 {
		return errors.New("no certificate")
	}
	if err := c.publish(next); err != nil {
		return err
	}
	c.last = Reloaded{Time: time.Now(), Trigger: "start", OK: true}
	c.good = c.last.Time
	return nil
}

// Reload reads everything again. Each pair, and the client CA, stands for
// itself: a bad one is refused and its old content stays in force, good ones
// are served from the next handshake on. The error names what was refused.
func (c *Certificates) Reload(trigger string) (Reloaded, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.now.Load()
	next, bad := c.read(old)
	changed := !next.same(old)
	if changed {
		if err := c.publish(next); err != nil {
			bad = append(bad, problem{err: err})
			changed = false
		}
	}
	c.last = Reloaded{Time: time.Now(), Trigger: trigger, OK: len(bad) == 0}
	if err := joined(bad); err != nil {
		c.last.Error, c.last.KeptSerial = err.Error(), kept(bad)
		c.log().Warn("reload refused", "trigger", trigger, "error", err, "kept_serial", c.last.KeptSerial)
	} else {
		c.good = c.last.Time
		c.log().Info("reloaded", "trigger", trigger, "changed", changed, "serial", next.pairs[0].serial())
	}
	c.Metrics.reloaded(c.last)
	return c.last, joined(bad)
}

// problem is one refused file, and what stays in its place.
type problem struct {
	err error
	old *pair
}

func joined(bad []problem) error {
	if len(bad) == 0 {
		return nil
	}
	text := make([]string, len(bad))
	for i, p := range bad {
		text[i] = p.err.Error()
	}
	return errors.New(strings.Join(text, "; "))
}

func kept(bad []problem) string {
	for _, p := range bad {
		if p.old != nil {
			return p.old.serial()
		}
	}
	return ""
}

// read makes the next state out of what is on disk, and of old where that is
// bad.
func (c *Certificates) read(old *material) (next *material, bad []problem) {
	next = &material{byName: make(map[string][]*pair)}
	files, err := c.allFiles()
	if err != nil {
		bad = append(bad, problem{err: err})
		files = old.files() // an unreadable directory takes nothing away
	}
	for _, f := range files {
		prior := old.pairOf(f)
		p, err := f.load(prior)
		if err != nil {
			bad = append(bad, problem{err, prior})
			p = prior
		}
		if p != nil {
			next.add(p)
		}
	}
	if c.Memory != nil {
		next.add(c.Memory)
	}
	// The last certificate does not go away because its files did.
	if len(next.pairs) == 0 && len(old.pairs) > 0 {
		if len(bad) == 0 {
			bad = append(bad, problem{fmt.Errorf("%s: no certificate left", c.Dir), old.pairs[0]})
		}
		for _, p := range old.pairs {
			next.add(p)
		}
	}
	if c.ClientCA != "" {
		if next.clients, err = loadAuthorities(c.ClientCA, old.clients); err != nil {
			bad = append(bad, problem{err: fmt.Errorf("client CA: %w", err)})
			next.clients = old.clients
		}
	}
	next.defaults = next.alike()
	return next, bad
}

// alike are the first pair and its alternatives: a pair with another kind of key, say, for one of its names.
func (m *material) alike() []*pair {
	var list []*pair
	for _, p := range m.pairs {
		if p == m.pairs[0] || overlap(p.names, m.pairs[0].names) {
			list = append(list, p)
		}
	}
	return list
}

func (c *Certificates) allFiles() ([]PairFiles, error) {
	files := c.Files[:len(c.Files):len(c.Files)]
	if c.Dir == "" {
		return files, nil
	}
	found, err := findPairs(c.Dir)
	return append(files, found...), err
}

func (m *material) files() []PairFiles {
	var list []PairFiles
	for _, p := range m.pairs {
		if p.files != (PairFiles{}) {
			list = append(list, p.files)
		}
	}
	return list
}

func (m *material) pairOf(f PairFiles) *pair {
	for _, p := range m.pairs {
		if p.files == f {
			return p
		}
	}
	return nil
}

func (m *material) add(p *pair) {
	m.pairs = append(m.pairs, p)
	for _, name := range p.names {
		m.byName[name] = append(m.byName[name], p)
	}
}

func (m *material) same(o *material) bool {
	if len(m.pairs) != len(o.pairs) || m.clients != o.clients {
		return false
	}
	for i := range m.pairs {
		if m.pairs[i] != o.pairs[i] {
			return false
		}
	}
	return true
}

// publish puts a state in force. Its session tickets are its own: a client
// that comes back with a ticket of the state before does a full handshake, so
// that it sees the new certificate, and a client CA that was taken away does
// not live on in tickets.
func (c *Certificates) publish(m *material) error {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	c.tickets = [][32]byte{key}
	m.config = &tls.Config{
		MinVersion:       max(c.MinVersion, tls.VersionTLS12),
		NextProtos:       c.NextProtos,
		GetCertificate:   func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return c.choose(m, hello), nil },
		ClientAuth:       c.ClientAuth,
		VerifyConnection: c.verify,
	}
	if m.clients != nil {
		m.config.ClientCAs = m.clients.pool
	}
	m.config.SetSessionTicketKeys(c.tickets)
	c.now.Store(m)
	c.Metrics.serves(m)
	for _, p := range m.pairs {
		if w := p.warning(time.Now()); w != "" {
			c.log().Warn("certificate served with a warning", "name", p.name(), "serial", p.serial(), "warning", w)
		}
	}
	if m.clients != nil {
		if w := m.clients.warning(time.Now()); w != "" {
			c.log().Warn("client CA used with a warning", "path", c.ClientCA, "warning", w)
		}
	}
	return nil
}

// rotateTickets puts a new session ticket key in front and keeps the last one:
// a key that lives for ever would undo forward secrecy for TLS 1.2.
func (c *Certificates) rotateTickets() {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tickets = [][32]byte{key, c.tickets[0]}
	c.now.Load().config.SetSessionTicketKeys(c.tickets)
}

// Config is for tls.Server. The state is chosen at each ClientHello, not when
// the connection is accepted.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.now.Load().config, nil
		},
	}
}

// choose picks the certificate by the name that the client asks for: the name itself, then its wildcard, then, where none
// of ours has it, the default. Of several, the first that the client can verify and that is valid today: the
// default may be RSA, and the client one that wants ECDSA (haproxy#2392). nil ends the handshake with unrecognized_name.
func (c *Certificates) choose(m *material, hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	list := m.byName[name]
	if _, parent, ok := strings.Cut(name, "."); ok {
		if wild := m.byName["*."+parent]; len(list) == 0 {
			list = wild
		} else if len(wild) > 0 {
			list = slices.Concat(list, wild)
		}
	}
	if len(list) == 0 {
		if c.StrictSNI {
			return nil
		}
		list = m.defaults
	}
	return &best(list, hello).tls
}

// best is the first of those that are left where as much as possible is right. With one alone there is no choice.
func best(list []*pair, hello *tls.ClientHelloInfo) *pair {
	if len(list) == 1 {
		return list[0]
	}
	client := *hello
	client.ServerName = "" // the name has been dealt with: a default need not have it
	now := time.Now()
	var fits *pair // the client can verify its signature, though not its dates
	for _, p := range list {
		if client.SupportsCertificate(&p.tls) != nil {
			continue
		}
		if p.valid(now) {
			return p
		}
		if fits == nil {
			fits = p
		}
	}
	if fits == nil {
		fits = list[0]
	}
	return fits
}

// verify runs at the end of every handshake, resumed ones too.
func (c *Certificates) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 || c.ClientAuth == tls.NoClientCert {
		return nil
	}
	return c.Access.Admit(state.PeerCertificates[0])
}

func (c *Certificates) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}
