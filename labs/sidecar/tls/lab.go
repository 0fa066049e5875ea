// Package tls is the lab sidecar/tls: HTTPS for a legacy HTTP service that is not touched.
package tls

import (
	"time"

	"distlab/lab/check"
)

// The lab's services and ports, as the compose file has them.
const (
	pod       = "pod"
	app       = "app"
	sidecar   = "tls-sidecar"
	httpsPort = 8443
	adminPort = 9090
	certPath  = "/certs/tls.crt"
	keyPath   = "/certs/tls.key"

	inside  = "http://127.0.0.1:8080" // the app, from within the pod
	outside = "https://pod:8443"      // the sidecar, from a neighbour
)

// patience is how long is waited for what should come within a second or two: what is late must be told from what
// never comes.
const patience = 15 * time.Second

// Lab is sidecar/tls.
var Lab = check.Lab{
	Name:  "sidecar/tls",
	Bench: &comparison,
	Claims: []check.Claim{
		{
			ID: "https", Says: "over HTTPS come the app's own status, headers and bytes, and bodies that are sent arrive, on kept connections and new ones",
			Timeout: 2 * time.Minute, Measure: check.By(sameBytes(kept, anew)),
		},
		{
			ID: "http2", Says: "the same holds over HTTP/2, several requests at a time on one connection",
			Measure: check.By(sameBytes(second)),
		},
		{
			ID: "plaintext-closed", Says: "of all that listens in the pod, another container reaches the sidecar alone, and it in TLS alone",
			Measure: check.By(plaintextClosed),
		},
		{
			ID: "forwarded", Says: "the app sees the real client and scheme, and forged headers are dropped, on each connection's first request and its tenth",
			Measure: check.By(forwarded),
		},
		{
			ID: "modern-tls", Says: "TLS 1.2 and 1.3 are spoken, 1.0 and 1.1 refused, whatever else a client says of itself",
			Measure: check.By(modernTLS),
		},
		{
			ID: "rotation", Says: "a new certificate on disk is shown to everybody who shakes hands, and no request fails meanwhile",
			Timeout: 2 * time.Minute, Measure: check.By(rotation),
		},
		{
			ID: "bad-rotation", Says: "a half-written, truncated, mismatched or garbled pair keeps the old one in service, and the sidecar's status says why",
			Timeout: 2 * time.Minute, Measure: check.By(badRotation),
		},
		{
			ID: "app-down", Says: "with the app away the answer is 502 within 2 s, and with the app back it is the page again",
			Measure: check.By(appDown),
		},
		{
			ID: "unready", Says: "with the app away the sidecar is unready within 2 s, and its status says so; it is ready again after",
			Measure: check.By(unready),
		},
		{
			ID: "drain", Says: "SIGTERM under load loses no request in flight",
			Timeout: 2 * time.Minute, Measure: check.By(drain),
		},
	},
	Variants: []check.Variant{
		{Name: "exposed-app", Says: "the app listens on every address of the pod, not on loopback alone", Breaks: []string{"plaintext-closed"}},
		{Name: "trusting", Says: "the sidecar believes the forwarded headers that any client sends", Breaks: []string{"forwarded"}},
		{Name: "restart-to-rotate", Says: "the sidecar has to be restarted to serve a new certificate", Breaks: []string{"rotation"}},
		{
			Name: "nginx", Says: "nginx in the sidecar's place: it ends TLS and passes requests on",
			Keeps: []string{"https", "http2", "plaintext-closed", "modern-tls", "app-down"},
		},
		{
			Name: "hitch", Says: "hitch in the sidecar's place: it ends TLS and passes bytes on",
			Keeps: []string{"https", "plaintext-closed", "modern-tls"},
		},
	},
}
