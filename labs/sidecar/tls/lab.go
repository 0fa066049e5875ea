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

// Lab is sidecar/tls.
var Lab = check.Lab{
	Name:  "sidecar/tls",
	Bench: &comparison,
	Claims: []check.Claim{
		{ID: "https", Says: "the same bytes come back over HTTPS as the app gives on loopback", Measure: sameBytes},
		{ID: "plaintext-closed", Says: "from another container the app's own ports refuse", Measure: plaintextClosed},
		{ID: "forwarded", Says: "the app sees the real client and scheme, and forged headers are dropped", Measure: forwarded},
		{ID: "modern-tls", Says: "TLS 1.2 and 1.3 are spoken, 1.0 and 1.1 refused, and HTTP/2 is offered", Measure: modernTLS},
		{
			ID: "rotation", Says: "a new certificate on disk is served to new connections, and no request fails meanwhile",
			Timeout: 90 * time.Second, Measure: rotation,
		},
		{ID: "bad-rotation", Says: "a half-written, mismatched or garbled pair keeps the old one, and the status says so", Measure: badRotation},
		{ID: "app-down", Says: "with the app away the answer is 502 and the sidecar unready within 2 s, and ready again after", Measure: appDown},
		{ID: "drain", Says: "SIGTERM under load loses no request in flight", Timeout: 90 * time.Second, Measure: drain},
	},
	Variants: []check.Variant{
		{Name: "exposed-app", Says: "the app listens on every address of the pod, not on loopback alone", Breaks: []string{"plaintext-closed"}},
		{Name: "trusting", Says: "the sidecar believes the forwarded headers that any client sends", Breaks: []string{"forwarded"}},
		{Name: "restart-to-rotate", Says: "the sidecar has to be restarted to serve a new certificate", Breaks: []string{"rotation"}},
	},
}
