package stack

import "testing"

func TestOverviewState(t *testing.T) {
	for _, c := range []struct {
		want    string
		members []Member
	}{
		{"up", []Member{{Status: "running"}, {Status: "running", Health: "healthy"}}},
		{"starting", []Member{{Status: "running"}, {Status: "running", Health: "starting"}}},
		{"partial", []Member{{Status: "running"}, {Status: "exited"}}},
		{"partial", []Member{{Status: "running"}, {Status: "running", Health: "unhealthy"}}},
		{"partial", []Member{{Status: "running"}, {Status: "paused"}}},
		{"down", []Member{{Status: "exited"}, {Status: "created"}}},
	} {
		if got := (Overview{Members: c.members}).State(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.members, got, c.want)
		}
	}
}
