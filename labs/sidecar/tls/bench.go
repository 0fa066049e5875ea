package tls

import (
	"fmt"

	"distlab/lab/check"
)

// The subjects of the comparison, by their names in the tables.
const (
	benchHTTP   = "tls-sidecar, http"
	benchTCP    = "tls-sidecar, tcp"
	benchNginx  = "nginx"
	benchHitch  = "hitch"
	benchStatic = "backend with TLS"
	benchDirect = "backend direct"
)

// idle is how many connections are left open. A proxy that passes bytes on takes two descriptors for each, and on some
// machines no process may have more than 20,000.
const idle = 9500

// gigabyte is as large as the backend's file.
const gigabyte = 1 << 30

// comparison is what `lab bench sidecar/tls` measures; bench/compose.yaml has the stack. The sidecar is compared in the mode
// that does what the counterpart does: hitch passes bytes on, nginx speaks HTTP and adds headers.
var comparison = check.Bench{
	Says: "TLS 1.3 in front of the same web server: ECDSA P-256, X25519, TLS_AES_128_GCM_SHA256",
	Subjects: []check.Subject{
		{Name: benchHTTP, Service: "sidecar-http", Role: check.Ours, Says: "MODE=http"},
		{Name: benchTCP, Service: "sidecar-tcp", Role: check.Ours, Says: "MODE=tcp"},
		{Name: benchNginx, Service: "nginx", Role: check.Counterpart, Says: "proxy_pass with kept connections, 2 workers"},
		{Name: benchHitch, Service: "hitch", Role: check.Counterpart, Says: "passes bytes on, 2 workers"},
		{Name: benchStatic, Service: "backend", Role: check.Ceiling, Says: "nginx that answers over TLS itself: no second hop"},
		{Name: benchDirect, Service: "backend", Role: check.Ceiling, Says: "the backend over plain HTTP"},
	},
	Backends: []string{"backend"},
	Workloads: []check.Workload{
		{
			ID: "keep-alive", Says: "GET of 1 KB, 64 kept connections",
			Load: check.Wrk{Connections: 64, Threads: 2},
			Targets: []check.Target{
				{Subject: benchHTTP, At: "https://pod:8443/small"},
				{Subject: benchNginx, At: "https://pod:8446/small"},
				{Subject: benchTCP, At: "https://pod:8444/small"},
				{Subject: benchHitch, At: "https://pod:8445/small"},
				{Subject: benchStatic, At: "https://pod:8447/small"},
				{Subject: benchDirect, At: "http://pod:8080/small"},
			},
			Pairs: pairs(check.Goal{Metric: check.Rate, AtLeast: 0.9}, check.Goal{Metric: check.Rate, AtLeast: 1}),
		},
		{
			ID: "handshakes", Says: "full handshakes, 32 at a time, no session resumed",
			Load: check.Handshakes{Connections: 32},
			Targets: []check.Target{
				{Subject: benchHTTP, At: "pod:8443"},
				{Subject: benchNginx, At: "pod:8446"},
				{Subject: benchTCP, At: "pod:8444"},
				{Subject: benchHitch, At: "pod:8445"},
				{Subject: benchStatic, At: "pod:8447"},
			},
			Pairs: pairs(check.Goal{Metric: check.Rate, AtLeast: 1}, check.Goal{Metric: check.Rate, AtLeast: 1}),
		},
		download("download-1", "1 GB over one connection", check.Transfer{Connections: 1, Down: gigabyte, Requests: 1}),
		download("download-16", "1 GB over 16 connections, 64 MB each", check.Transfer{Connections: 16, Down: gigabyte / 16, Requests: 1}),
		{
			ID: "idle", Says: fmt.Sprintf("%d connections that were used once and are kept open", idle),
			Load: check.Idle{
				Connections: idle, TLS: true, Send: `GET /small HTTP/1.1\r\nHost: pod\r\n\r\n`, Expect: `\x00\x00\x00\x00`,
			},
			Targets: []check.Target{
				{Subject: benchHTTP, At: "pod:8443"},
				{Subject: benchNginx, At: "pod:8446"},
				{Subject: benchTCP, At: "pod:8444"},
				{Subject: benchHitch, At: "pod:8445"},
			},
			Pairs: []check.Pair{
				{Subject: benchHTTP, Against: benchNginx, Goals: []check.Goal{{Metric: check.Memory, AtMost: 2}}},
				{Subject: benchTCP, Against: benchNginx, Goals: []check.Goal{{Metric: check.Memory, AtMost: 2}}},
				{Subject: benchTCP, Against: benchHitch},
			},
		},
	},
}

// pairs compares like with like.
func pairs(nginx, hitch check.Goal) []check.Pair {
	return []check.Pair{
		{Subject: benchHTTP, Against: benchNginx, Goals: []check.Goal{nginx}},
		{Subject: benchTCP, Against: benchHitch, Goals: []check.Goal{hitch}},
	}
}

// download is a workload that moves a gigabyte.
func download(id, says string, load check.Transfer) check.Workload {
	return check.Workload{
		ID: id, Says: says, Load: load,
		Targets: []check.Target{
			{Subject: benchHTTP, At: "https://pod:8443/large"},
			{Subject: benchNginx, At: "https://pod:8446/large"},
			{Subject: benchTCP, At: "https://pod:8444/large"},
			{Subject: benchHitch, At: "https://pod:8445/large"},
			{Subject: benchStatic, At: "https://pod:8447/large"},
			{Subject: benchDirect, At: "http://pod:8080/large"},
		},
		Pairs: pairs(check.Goal{Metric: check.Rate, AtLeast: 1}, check.Goal{Metric: check.Rate, AtLeast: 1}),
	}
}
