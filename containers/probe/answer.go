package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"
)

// httpAnswer is what `probe http` prints.
type httpAnswer struct {
	failure
	Status  int                 `json:"status"`
	Proto   string              `json:"proto"`
	Header  map[string][]string `json:"header"`
	Body    []byte              `json:"body"`
	Bytes   int64               `json:"bytes"`
	SHA256  string              `json:"sha256"`
	Seconds float64             `json:"seconds"`
	Local   string              `json:"local"`
	Remote  string              `json:"remote"`
	TLS     *tlsAnswer          `json:"tls"`
}

// tcpAnswer is what `probe tcp` prints.
type tcpAnswer struct {
	failure
	Connected bool    `json:"connected"`
	Received  []byte  `json:"received"`
	Seconds   float64 `json:"seconds"`
	Local     string  `json:"local"`
	Remote    string  `json:"remote"`
}

// socketsAnswer is what `probe sockets` prints.
type socketsAnswer struct {
	failure
	Listening []string `json:"listening"`
}

// tlsAnswer is what `probe tls` prints.
type tlsAnswer struct {
	failure
	Handshake    bool          `json:"handshake"`
	Version      string        `json:"version"`
	Cipher       string        `json:"cipher"`
	ALPN         string        `json:"alpn"`
	Certificates []certificate `json:"certificates"`
	Seconds      float64       `json:"seconds"`
}

// certificate is one that the peer showed, leaf first.
type certificate struct {
	Serial   string    `json:"serial"`
	Subject  string    `json:"subject"`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
	SHA256   string    `json:"sha256"`
}

// loadAnswer is what `probe load` and `probe flight` print at their end, as the event "result".
type loadAnswer struct {
	Event    string            `json:"event"`
	Requests int               `json:"requests"`
	OK       int               `json:"ok"`
	Status   map[string]int    `json:"status"`
	Errors   map[errorKind]int `json:"errors"`
	Lost     int               `json:"lost"`
	Retried  int               `json:"retried"`
	Seconds  float64           `json:"seconds"`
	Rate     float64           `json:"rate"`
	Latency  latency           `json:"latency"`
	First    []string          `json:"first"`
	Began    time.Time         `json:"began"`
	Failed   []missed          `json:"failed"`
	Series   []slice           `json:"series"`
}

// missed is a request that was not OK: when it was due, in seconds after the first, and what came of it.
type missed struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// slice is a tenth of a second of a load, by the time at which its requests were due.
type slice struct {
	At       float64 `json:"at"`
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
}

// latency is a distribution in seconds.
type latency struct {
	Mean    float64  `json:"mean"`
	P50     float64  `json:"p50"`
	P90     float64  `json:"p90"`
	P99     float64  `json:"p99"`
	Max     float64  `json:"max"`
	Buckets []bucket `json:"buckets"`
}

// bucket counts the requests that took at most LE seconds.
type bucket struct {
	LE    float64 `json:"le"`
	Count int     `json:"count"`
}

// started is the line of `probe load` when its first request was answered.
type started struct {
	Event string `json:"event"`
}

// inFlight is the line of `probe flight` when all its requests are written and none is answered.
type inFlight struct {
	Event string `json:"event"`
	Count int    `json:"count"`
}

// opened is the line of `probe idle` when all its connections are open.
type opened struct {
	Event string `json:"event"`
	Count int    `json:"count"`
}

// closedAnswer is what `probe handshakes`, `probe transfer` and `probe idle` print at their end, as the event "result".
type closedAnswer struct {
	Event       string            `json:"event"`
	Connections int               `json:"connections"`
	Done        int               `json:"done"`
	Bytes       int64             `json:"bytes"`
	Errors      map[errorKind]int `json:"errors"`
	First       []string          `json:"first"`
	Seconds     float64           `json:"seconds"`
	CPU         float64           `json:"cpu_seconds"`
	Latency     latency           `json:"latency"`
}

func (a *tlsAnswer) describe(cs tls.ConnectionState) {
	a.Handshake = true
	a.Version = strings.TrimPrefix(tls.VersionName(cs.Version), "TLS ")
	a.Cipher = tls.CipherSuiteName(cs.CipherSuite)
	a.ALPN = cs.NegotiatedProtocol
	a.Certificates = certificates(cs.PeerCertificates)
}

func certificates(chain []*x509.Certificate) []certificate {
	all := []certificate{}
	for _, c := range chain {
		names := append([]string{}, c.DNSNames...)
		for _, ip := range c.IPAddresses {
			names = append(names, ip.String())
		}
		for _, u := range c.URIs {
			names = append(names, u.String())
		}
		sum := sha256.Sum256(c.Raw)
		all = append(all, certificate{
			Serial: c.SerialNumber.Text(16), Subject: c.Subject.String(), Names: names,
			NotAfter: c.NotAfter, SHA256: hex.EncodeToString(sum[:]),
		})
	}
	return all
}
