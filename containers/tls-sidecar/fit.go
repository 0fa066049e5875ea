package main

import "distlab/containers/internal/daemon"

// cost is measured with head room for the garbage collector: an idle TLS connection takes 34 KiB with Go's HTTP server, where any
// client may bring it, a request its buffers on both sides. In TCP mode each connection has another to the app.
var cost = daemon.Cost{Own: 16 << 20, Connection: 48 << 10, Request: 96 << 10, Pairs: true}
