package check

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBeside(t *testing.T) {
	flows := []Flow{
		{Name: "kept", Rate: 100, URL: "http://web/"},
		{Name: "anew", Rate: 50, URL: "http://web/", Args: []string{"-keepalive=false"}},
		{Name: "control", Rate: 100, URL: "http://db/", Control: true},
	}
	// What each load says, by the host that it asks and whether its connections are kept.
	type load struct {
		requests, ok, lost int
		p99                float64
	}
	for _, c := range []struct {
		name                string
		kept, anew, control load
		want                Verdict
		detail              string
	}{
		{"all well", load{100, 100, 0, .1}, load{50, 50, 0, .2}, load{100, 100, 0, .1}, Pass, "control: 0 of 100 requests failed, p99 100 ms"},
		{"ours fail", load{100, 98, 1, .1}, load{50, 49, 0, .2}, load{100, 100, 0, .1}, Fail, "kept: 2 of 100 requests failed, p99 100 ms, longest 0 ms; 2 × 503 at 0.0, 0.1 s"},
		{"the control fails too", load{100, 98, 1, .1}, load{50, 50, 0, .2}, load{100, 99, 0, .1}, Inconclusive, "the control failed or lagged too"},
		{"the control lags", load{100, 98, 1, .1}, load{50, 50, 0, .2}, load{100, 100, 0, .6}, Inconclusive, "it would have said: 2 failed, 1 lost"},
		{"the control does not get its requests out", load{100, 98, 1, .1}, load{50, 50, 0, .2}, load{70, 70, 0, .1}, Inconclusive, "too busy"},
		{"only the control fails", load{100, 100, 0, .1}, load{50, 50, 0, .2}, load{100, 90, 10, 5}, Pass, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.probe = func(spec ProbeSpec) (*fakeProbe, error) {
					l := c.kept
					switch args := strings.Join(spec.Args, " "); {
					case strings.Contains(args, "http://db/"):
						l = c.control
					case strings.Contains(args, "-keepalive=false"):
						l = c.anew
					}
					var failed []Failure
					for i := range l.requests - l.ok {
						failed = append(failed, Failure{At: float64(i) / 10, What: "503"})
					}
					text, _ := json.Marshal(failed)
					return &fakeProbe{lines: []string{`{"event":"started"}`, fmt.Sprintf(
						`{"event":"result","requests":%d,"ok":%d,"lost":%d,"rate":%d,"latency":{"p99":%v},"failed":%s,"series":[{"at":0.1}]}`,
						l.requests, l.ok, l.lost, l.requests, l.p99, text)}}, nil
				}
				var acted, ended time.Duration
				got := judge(t, t.Context(), f, By(func(m *M) Result {
					begun := time.Now()
					tr := m.Beside(2*time.Second, flows, func() {
						acted = time.Since(begun)
						m.Heal(m.Stop("web"))
					})
					ended = time.Since(begun)
					if tr.Requests() != c.kept.requests+c.anew.requests || tr.P99() != 200*time.Millisecond {
						t.Errorf("%d requests, p99 %v", tr.Requests(), tr.P99())
					}
					return tr.Fair(Decide(tr.Failed() == 0, "%d failed, %d lost", tr.Failed(), tr.Lost()).Of(tr.Requests()))
				}))
				if acted != 2*time.Second || ended < 4*time.Second {
					t.Errorf("acted after %v, ended after %v; want as long a load before as after", acted, ended)
				}
				if got.Verdict != c.want || !strings.Contains(got.Detail, c.detail) {
					t.Errorf("%s: %s; want %s: %s", got.Verdict, got.Detail, c.want, c.detail)
				}
				var record struct {
					Flows []struct {
						Name   string
						Series []Slice
					}
					Faults []struct {
						Fault    string
						From, To time.Time
					}
				}
				if err := json.Unmarshal([]byte(f.records["it-series.json"]), &record); err != nil {
					t.Fatal(err)
				}
				if len(record.Flows) != 3 || record.Flows[1].Name != "anew" || len(record.Flows[2].Series) != 1 ||
					len(record.Faults) != 1 || record.Faults[0].Fault != "stop lab-web-1" || record.Faults[0].To.Before(record.Faults[0].From) {
					t.Errorf("recorded %+v", record)
				}
			})
		})
	}
}
