package split

import "distlab/lab/check"

// comparison is what `lab bench ambassador/split` measures; bench/compose.yaml has the stack.
var comparison = check.Bench{
	Says: "nine of ten requests to one arm and the tenth to another, over HTTP/1.1",
	Subjects: []check.Subject{
		{Name: "splitter", Service: "splitter", Role: check.Ours, Says: "weights 9 and 1"},
		{Name: "nginx", Service: "nginx", Role: check.Counterpart, Says: "upstream with weights 9 and 1 and kept connections, 2 workers"},
		{Name: "arms direct", Service: "arms", Role: check.Ceiling, Says: "the backend without anything before it"},
	},
	Backends: []string{"arms"},
	Workloads: []check.Workload{
		{
			ID: "keep-alive", Says: "GET of 100 bytes, 64 kept connections",
			Load: check.Wrk{Connections: 64, Threads: 2},
			Targets: []check.Target{
				{Subject: "splitter", At: "http://splitter:8080/small"},
				{Subject: "nginx", At: "http://nginx:8080/small"},
				{Subject: "arms direct", At: "http://arms:8080/small"},
			},
			Pairs: []check.Pair{{Subject: "splitter", Against: "nginx", Goals: []check.Goal{{Metric: check.Rate, AtLeast: 1}}}},
		},
		{
			ID: "bodies", Says: "1 MB sent and 1 MB answered, 64 kept connections",
			Load: check.Transfer{Connections: 64, Up: megabyte, Down: megabyte},
			Targets: []check.Target{
				{Subject: "splitter", At: "http://splitter:8080/body"},
				{Subject: "nginx", At: "http://nginx:8080/body"},
				{Subject: "arms direct", At: "http://arms:8080/body"},
			},
			// "Memory bounded" is a number: no more than twice of what nginx takes for the same.
			Pairs: []check.Pair{{Subject: "splitter", Against: "nginx", Goals: []check.Goal{
				{Metric: check.Rate, AtLeast: 1}, {Metric: check.Memory, AtMost: 2},
			}}},
		},
		{
			ID: "idle", Says: "9500 connections that were used once and are kept open",
			Load: check.Idle{
				Connections: 9500, Send: `GET /small HTTP/1.1\r\nHost: split\r\n\r\n`, Expect: `\x00\x00\x00\x00`,
			},
			Targets: []check.Target{
				{Subject: "splitter", At: "splitter:8080"},
				{Subject: "nginx", At: "nginx:8080"},
			},
			Pairs: []check.Pair{{Subject: "splitter", Against: "nginx", Goals: []check.Goal{{Metric: check.Memory, AtMost: 2}}}},
		},
	},
}

const megabyte = 1 << 20
