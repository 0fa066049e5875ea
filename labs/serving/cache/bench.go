package cache

import "distlab/lab/check"

// The subjects of the comparison, by their names in the tables.
const (
	benchOurs    = "http-cache"
	benchNginx   = "nginx"
	benchVarnish = "Varnish"
	benchDirect  = "origin direct"
)

// comparison is what `lab bench serving/cache` measures; bench/compose.yaml has the stack.
var comparison = check.Bench{
	Says: "a shared cache before one web server, over HTTP/1.1",
	Subjects: []check.Subject{
		{Name: benchOurs, Service: "http-cache", Role: check.Ours, Says: "as it comes, 512 MiB"},
		{Name: benchNginx, Service: "nginx", Role: check.Counterpart, Says: "proxy_cache on tmpfs, lock on, 2 workers"},
		{Name: benchVarnish, Service: "varnish", Role: check.Counterpart, Says: "malloc, 512 MB"},
		{Name: benchDirect, Service: "origin", Role: check.Ceiling, Says: "the web server without anything before it"},
	},
	Backends: []string{"origin"},
	Workloads: []check.Workload{
		hits("hits-1k", "GET of 1 KB that is stored, 64 kept connections", "/1k"),
		hits("hits-100k", "GET of 100 KB that is stored, 64 kept connections", "/100k"),
		{
			ID: "misses", Says: "GET of 1 KB that is fresh for a second, 64 kept connections",
			Load: check.Wrk{Connections: 64, Threads: 2},
			Targets: []check.Target{
				{Subject: benchOurs, At: "http://http-cache:8080/stale"},
				{Subject: benchNginx, At: "http://nginx:8080/stale"},
				{Subject: benchVarnish, At: "http://varnish:8080/stale"},
			},
			Pairs: []check.Pair{{Subject: benchOurs, Against: benchNginx}, {Subject: benchOurs, Against: benchVarnish}},
		},
		{
			ID: "memory", Says: "100,000 objects of 1 KB are stored, then one of them is asked for by 64 kept connections",
			Load: check.Wrk{Connections: 64, Threads: 2},
			// wrk asks for one URL alone; a script has it ask for many, once.
			Prepare: [][]string{{"wrk", "-t", "1", "-c", "16", "-d", "120s", "-s", "/fill.lua", "http://{host}:{port}/"}},
			Targets: []check.Target{
				{Subject: benchOurs, At: "http://http-cache:8080/1k?n=1"},
				{Subject: benchVarnish, At: "http://varnish:8080/1k?n=1"},
			},
			Pairs: []check.Pair{{Subject: benchOurs, Against: benchVarnish, Goals: []check.Goal{{Metric: check.Memory, AtMost: 1}}}},
		},
	},
}

func hits(id, says, path string) check.Workload {
	return check.Workload{
		ID: id, Says: says,
		Load: check.Wrk{Connections: 64, Threads: 2},
		Targets: []check.Target{
			{Subject: benchOurs, At: "http://http-cache:8080" + path},
			{Subject: benchNginx, At: "http://nginx:8080" + path},
			{Subject: benchVarnish, At: "http://varnish:8080" + path},
			{Subject: benchDirect, At: "http://origin:8080" + path},
		},
		Pairs: []check.Pair{
			{Subject: benchOurs, Against: benchNginx, Goals: []check.Goal{{Metric: check.Rate, AtLeast: 1}}},
			{Subject: benchOurs, Against: benchVarnish, Goals: []check.Goal{{Metric: check.Rate, AtLeast: 0.8}}},
		},
	}
}
