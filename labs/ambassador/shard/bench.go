package shard

import (
	"fmt"
	"strings"

	"distlab/lab/check"
)

// The subjects of the comparison, by their names in the tables.
const (
	benchOurs       = "shard-ambassador"
	benchNutcracker = "nutcracker"
	benchDirect     = "one Redis direct"
	benchNginx      = "nginx"
)

// comparison is what `lab bench ambassador/shard` measures; bench/compose.yaml has the stack.
var comparison = check.Bench{
	Says: "one Redis address in front of three servers, the same pool file for both",
	Subjects: []check.Subject{
		{Name: benchOurs, Service: "shard-ambassador", Role: check.Ours, Says: "one thread, one connection to each server"},
		{Name: benchNutcracker, Service: "nutcracker", Role: check.Counterpart, Says: "twemproxy: one thread, one connection to each server"},
		{Name: benchDirect, Service: "redis-a", Role: check.Ceiling, Says: "a server without anything before it"},
		{Name: benchNginx, Service: "nginx", Role: check.Counterpart, Says: "HTTP, for the memory of open connections alone"},
	},
	Backends: []string{"redis-a", "redis-b", "redis-c"},
	Workloads: append(single(), []check.Workload{
		{
			ID: "mget", Says: "MGET of 10 keys on three servers, 50 clients, no pipeline",
			Load:    check.RedisBenchmark{Clients: 50, Pipeline: 1, Command: mget},
			Prepare: [][]string{append([]string{"redis-cli", "-e", "-h", "{host}", "-p", "{port}"}, mset...)},
			Targets: targets,
			Pairs: []check.Pair{{Subject: benchOurs, Against: benchNutcracker, Goals: []check.Goal{
				{Metric: check.Rate, AtLeast: 1.5}, {Metric: check.P99, AtMost: 1},
			}}},
		},
		{
			ID: "idle", Says: fmt.Sprintf("%d connections that were used once and are kept open", idle),
			Load: check.Idle{Connections: idle, Send: `*1\r\n$4\r\nPING\r\n`, Expect: `+PONG\r\n`},
			Targets: []check.Target{
				{Subject: benchOurs, At: "shard-ambassador:6379"},
				{Subject: benchNutcracker, At: "nutcracker:6379"},
				{Subject: benchNginx, At: "nginx:8080", Send: `GET / HTTP/1.1\r\nHost: shard\r\n\r\n`, Expect: `+PONG\n`},
			},
			Pairs: []check.Pair{
				{Subject: benchOurs, Against: benchNginx, Goals: []check.Goal{{Metric: check.Memory, AtMost: 2}}},
				{Subject: benchOurs, Against: benchNutcracker},
			},
		},
	}...),
}

// idle is how many connections are left open, as in the other labs.
const idle = 9500

var targets = []check.Target{
	{Subject: benchOurs, At: "shard-ambassador:6379"},
	{Subject: benchNutcracker, At: "nutcracker:6379"},
	{Subject: benchDirect, At: "redis-a:6379"},
}

// single are SET and GET of random keys: the deeper the pipeline, the less of the time goes into system calls.
func single() (all []check.Workload) {
	for _, p := range []struct {
		pipeline int
		rate     float64
	}{{1, 1}, {16, 1.5}, {64, 2}} {
		for _, command := range []string{"SET key:__rand_int__ xxx", "GET key:__rand_int__"} {
			verb, _, _ := strings.Cut(command, " ")
			all = append(all, check.Workload{
				ID:      fmt.Sprintf("%s-%d", strings.ToLower(verb), p.pipeline),
				Says:    fmt.Sprintf("%s of random keys, 50 clients, pipeline %d", verb, p.pipeline),
				Load:    check.RedisBenchmark{Clients: 50, Pipeline: p.pipeline, Keys: 100000, Command: strings.Fields(command)},
				Targets: targets,
				Pairs: []check.Pair{{Subject: benchOurs, Against: benchNutcracker, Goals: []check.Goal{
					{Metric: check.Rate, AtLeast: p.rate}, {Metric: check.P99, AtMost: 1},
				}}},
			})
		}
	}
	return all
}

// mget asks for ten keys and mset stores them. The ring puts the first four on a, the next four on b and the last two on c.
var mget, mset = func() (get, set []string) {
	get, set = []string{"MGET"}, []string{"MSET"}
	for _, name := range []string{"anna", "jan", "fritz", "lena", "bert", "david", "karl", "ida", "carla", "emma"} {
		key := name + ":cart"
		get, set = append(get, key), append(set, key, "xxx")
	}
	return get, set
}()
