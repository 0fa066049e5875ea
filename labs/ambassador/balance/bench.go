package balance

import "distlab/lab/check"

// The subjects of the comparison, by their names in the tables.
const (
	benchOurs    = "balancer"
	benchLeast   = "balancer, least"
	benchHedging = "balancer, hedging"
	benchNginx   = "nginx"
	benchHAProxy = "HAProxy"
	benchDirect  = "shops direct"
)

const megabyte = 1 << 20

// comparison is what `lab bench ambassador/balance` measures; bench/compose.yaml has the stack.
var comparison = check.Bench{
	Says: "one address for three replicas, over HTTP/1.1",
	Subjects: []check.Subject{
		{Name: benchOurs, Service: "balancer", Role: check.Ours, Says: "POLICY=smooth"},
		{Name: benchLeast, Service: "balancer-least", Role: check.Ours, Says: "POLICY=least: of two at random the one with less in flight"},
		{Name: benchHedging, Service: "balancer-hedging", Role: check.Ours, Says: "POLICY=least, HEDGE_AFTER=50ms"},
		{Name: benchNginx, Service: "nginx", Role: check.Counterpart, Says: "upstream with kept connections, 2 workers"},
		{Name: benchHAProxy, Service: "haproxy", Role: check.Counterpart, Says: "roundrobin, before the slow one leastconn; 2 threads"},
		{Name: benchDirect, Service: "shops", Role: check.Ceiling, Says: "the backend without anything before it"},
	},
	Backends: []string{"shops", "fast-1", "fast-2", "slow"},
	Workloads: []check.Workload{
		{
			ID: "keep-alive", Says: "GET of 100 bytes, 64 kept connections",
			Load: check.Wrk{Connections: 64, Threads: 2},
			Targets: []check.Target{
				{Subject: benchOurs, At: "http://balancer:8080/small"},
				{Subject: benchNginx, At: "http://nginx:8080/small"},
				{Subject: benchHAProxy, At: "http://haproxy:8080/small"},
				{Subject: benchDirect, At: "http://shops:8080/small"},
			},
			Pairs: against(check.Goal{Metric: check.Rate, AtLeast: 1}, check.Goal{Metric: check.P99, AtMost: 1}, check.Goal{Metric: check.Memory, AtMost: 1}),
		},
		{
			ID: "bodies", Says: "1 MB sent and 1 MB answered, 64 kept connections",
			Load: check.Transfer{Connections: 64, Up: megabyte, Down: megabyte},
			Targets: []check.Target{
				{Subject: benchOurs, At: "http://balancer:8080/body"},
				{Subject: benchNginx, At: "http://nginx:8080/body"},
				{Subject: benchHAProxy, At: "http://haproxy:8080/body"},
				{Subject: benchDirect, At: "http://shops:8080/body"},
			},
			Pairs: against(check.Goal{Metric: check.Rate, AtLeast: 1}, check.Goal{Metric: check.Memory, AtMost: 1}),
		},
		{
			ID: "one-slow", Says: "GET of what takes two shops 5 ms and the third 250 ms, 16 kept connections",
			Load: check.Wrk{Connections: 16, Threads: 2},
			Targets: []check.Target{
				{Subject: benchLeast, At: "http://balancer-least:8080/slow?silent=1"},
				{Subject: benchHedging, At: "http://balancer-hedging:8080/slow?silent=1"},
				{Subject: benchNginx, At: "http://nginx:8081/slow?silent=1"},
				{Subject: benchHAProxy, At: "http://haproxy:8081/slow?silent=1"},
			},
			// A slow replica costs a round robin the rate, since its connections gather there. With the least in flight a
			// hundredth of the requests still meets it, and that is the p99; only a second question brings it down.
			Pairs: []check.Pair{
				{Subject: benchLeast, Against: benchNginx, Goals: []check.Goal{{Metric: check.Rate, AtLeast: 2}}},
				{Subject: benchLeast, Against: benchHAProxy},
				{Subject: benchHedging, Against: benchNginx, Goals: []check.Goal{{Metric: check.Rate, AtLeast: 2}, {Metric: check.P99, AtMost: 0.5}}},
				{Subject: benchHedging, Against: benchHAProxy, Goals: []check.Goal{{Metric: check.P99, AtMost: 0.5}}},
			},
		},
	},
}

// against compares the balancer with both that people know.
func against(goals ...check.Goal) []check.Pair {
	return []check.Pair{
		{Subject: benchOurs, Against: benchNginx, Goals: goals},
		{Subject: benchOurs, Against: benchHAProxy, Goals: goals},
	}
}
