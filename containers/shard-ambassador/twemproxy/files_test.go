package twemproxy_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"distlab/containers/shard-ambassador/pool"
)

// compareFiles shows pool files to both: what twemproxy takes our reader takes, and what it refuses ours refuses, but for what is marked.
func compareFiles() error {
	const head = "alpha:\n  listen: 127.0.0.1:7000\n"
	const tail = "  servers:\n    - 127.0.0.1:7001:1\n"
	with := func(line string) string { return head + line + "\n" + tail }
	servers := func(lines string) string { return head + "  servers:\n" + lines }
	const (
		both     = 0
		weTake   = 1 // it does not
		weRefuse = 2 // it does
	)
	var bad []error
	for _, tt := range []struct {
		text string
		who  int
	}{
		{head + tail, both},
		{with("  redis: true"), both},
		{with("  redis: yes"), both},
		{with("  redis: 'true'"), both},
		{with("  timeout: 400"), both},
		{with("  timeout: 400ms"), both},
		{with("  timeout: -1"), both},
		{with("  timeout: '400'"), both},
		{with("  timeout: 0"), both},
		{with("  backlog: 0"), both},
		{with("  client_connections: 7"), both},
		{with("  tcpkeepalive: true"), both},
		{with("  preconnect: true"), both},
		{with("  server_connections: 0"), both},
		{with("  server_failure_limit: 0"), both},
		{with("  server_retry_timeout: 0"), both},
		{with("  auto_eject_hosts: false"), both},
		{with("  redis: true\n  redis_auth: x"), both},
		{with("  redis_auth: x"), both},
		{with("  redis: true\n  redis_auth: ''"), both},
		{with("  redis_db: 3"), both},
		{with("  hash: murmur"), both},
		{with("  hash: sha1"), both},
		{with("  hash: FNV1A_64"), both},
		{with("  distribution: random"), both},
		{with("  distribution: rendezvous"), both},
		{with("  hash_tag: '{}'"), both},
		{with("  hash_tag: '{'"), both},
		{with("  hash_tag:"), both},
		{with("  hash_tag: é"), both}, // two bytes
		{with("  tiemout: 400"), both},
		{with("  redis: true\n  redis: true"), both},
		{with("  timeout: &t 400"), both},
		{with("  timeout: !!str 400"), both},
		{"alpha:\n  redis: true\n" + tail, both},
		{head, both},
		{"", both},
		{"alpha\n", both},
		{head + tail + head + tail, both},
		{head + tail + "beta:\n  listen: 127.0.0.1:7000\n" + tail, both},
		{head + tail + "beta:\n  listen: 127.0.0.1:7002\n" + tail, both},
		{"alpha:\n  listen: 127.0.0.1:0\n" + tail, both},
		{"alpha:\n  listen: 127.0.0.1:65536\n" + tail, both},
		{"alpha:\n  listen: 127.0.0.1\n" + tail, both},
		{"alpha:\n  listen: /tmp/x.sock\n" + tail, both},
		{"alpha:\n  listen: /tmp/x.sock 0660\n" + tail, both},
		{"alpha:\n  listen: /tmp/x.sock 7777\n" + tail, both},
		{servers("    - 127.0.0.1:7001:0\n"), both},
		{servers("    - 127.0.0.1:7001:x\n"), both},
		{servers("    - 127.0.0.1:7001\n"), both},
		{servers("    - 127.0.0.1:0:1\n"), both},
		{servers("    - 127.0.0.1:7001:1 a\n    - 127.0.0.1:7001:1 b\n"), both},
		{servers("    - 127.0.0.1:7001:1 a\n    - 127.0.0.1:7002:1 a\n"), both},
		{servers("    - 127.0.0.1:7001:1\n    - 127.0.0.1:7001:2\n"), both},
		{servers("    - /tmp/x.sock:1\n"), both},
		{servers("    - /tmp/x.sock\n"), both},
		{servers("    - ::1:7001:1\n"), both},
		{servers(""), both},

		// What has a meaning, though twemproxy wants another form.
		{"---\n" + head + tail, weTake},
		{head + "  servers: ['127.0.0.1:7001:1']\n", weTake},
		{"alpha:\n  listen: :7000\n" + tail, weTake},
		{servers("    - 127.0.0.1:7001:1  b\n"), weTake},
		{with("  eject: fail_fast"), weTake},
		// What has none, though twemproxy reads something into it.
		{"alpha:\n  listen: /tmp/x.sock 0999\n" + tail, weRefuse},
		{servers("    - 127.0.0.1:7001:99999999999\n"), weRefuse},
	} {
		if err := os.WriteFile("/tmp/pools.yml", []byte(tt.text), 0o600); err != nil {
			return err
		}
		theirs := exec.Command("nutcracker", "-t", "-c", "/tmp/pools.yml").Run()
		_, ours := pool.ReadFile("/tmp/pools.yml")
		wantOurs := (theirs == nil) == (tt.who == both)
		if (ours == nil) != wantOurs || tt.who == weTake && theirs == nil || tt.who == weRefuse && theirs != nil {
			bad = append(bad, fmt.Errorf("%q\n  twemproxy: %v\n  ours: %v", tt.text, theirs, ours))
		}
	}
	return errors.Join(bad...)
}
