package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"distlab/lab/check"
)

// families are a page's, by name.
type families map[string]*dto.MetricFamily

// scrape asks an adapter, as a scraper that waits for so long; 0 does not say. An answer that is not 200 is an error.
func scrape(m *check.M, pod, path string, limit time.Duration) (families, check.Page) {
	var headers []string
	if limit > 0 {
		headers = []string{"X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(limit.Seconds())}
	}
	p := m.Get(pod, metricsPort, path, headers...)
	check.Must(p.Is(http.StatusOK))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return families(check.Got(parser.TextToMetricFamilies(bytes.NewReader(p.Body)))), p
}

// value is a series', labels written name=value; false if it is not there.
func (f families) value(name string, labels ...string) (float64, bool) {
	for _, s := range f[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range s.Label {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		all := true
		for _, l := range labels {
			all = all && has[l]
		}
		if all {
			return s.GetCounter().GetValue() + s.GetGauge().GetValue() + s.GetUntyped().GetValue(), true
		}
	}
	return 0, false
}

// of are the names that begin so.
func (f families) of(prefix string) (names []string) {
	for name := range f {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// info is INFO, by Redis' own client.
func info(m *check.M) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(m.Exec(redis, "redis-cli", "info", "all")) {
		if name, val, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = val
		}
	}
	return fields
}

// calls is how often a command was called, by INFO.
func calls(fields map[string]string, cmd string) float64 {
	for pair := range strings.SplitSeq(fields["cmdstat_"+cmd], ",") {
		if n, ok := strings.CutPrefix(pair, "calls="); ok {
			return check.Got(strconv.ParseFloat(n, 64))
		}
	}
	return 0
}

// status is stub_status: what it calls accepts, handled and requests.
func status(m *check.M) map[string]float64 {
	p := m.Get(nginxPod, webPort, "/stub_status")
	check.Must(p.Is(http.StatusOK))
	var active int
	var accepts, handled, requests float64
	check.Got(fmt.Sscanf(string(p.Body), "Active connections: %d \nserver accepts handled requests\n %f %f %f", &active, &accepts, &handled, &requests))
	return map[string]float64{"nginx_connections_accepted": accepts, "nginx_connections_handled": handled, "nginx_http_requests_total": requests}
}

// series is one of Prometheus' answers.
type series struct {
	Metric map[string]string
	Value  [2]any
}

func (s series) number() float64 {
	text, _ := s.Value[1].(string)
	return check.Got(strconv.ParseFloat(text, 64))
}

// query asks Prometheus.
func query(m *check.M, q string) []series {
	var answer struct {
		Status string
		Error  string
		Data   struct{ Result []series }
	}
	m.JSON(prometheus, prometheusPort, "/api/v1/query?query="+url.QueryEscape(q), &answer)
	if answer.Status != "success" {
		check.Must(errors.New(answer.Error))
	}
	return answer.Data.Result
}

// is wants Prometheus to have one series with that value.
func is(q string, want float64) func(*check.M) error {
	return func(m *check.M) error {
		got := query(m, q)
		if len(got) != 1 || got[0].number() != want {
			text, _ := json.Marshal(got)
			return fmt.Errorf("%s is %.200s, want %v", q, text, want)
		}
		return nil
	}
}

// none wants Prometheus to have no such series.
func none(q string) func(*check.M) error {
	return func(m *check.M) error {
		if got := query(m, q); len(got) > 0 {
			return fmt.Errorf("%s is %v", q, got[0].Metric)
		}
		return nil
	}
}

// well waits until both servers are up, whoever asks: what an earlier claim did is over.
func well(m *check.M) {
	m.Await(patience, "both servers up", func(m *check.M) error {
		for _, at := range []struct{ pod, path, name string }{
			{redisPod, "/metrics", "redis_up"},
			{redisPod, elsewhere, "redis_up"},
			{nginxPod, "/metrics", "nginx_up"},
		} {
			f, _ := scrape(m, at.pod, at.path, 0)
			if up, _ := f.value(at.name); up != 1 {
				return fmt.Errorf("%s of %s%s is %v", at.name, at.pod, at.path, up)
			}
		}
		return nil
	})
}

// watched waits until Prometheus has looked twice at each of its three targets, whatever it saw: it takes five seconds to begin
// after its start, and what happened before its first look is no rate.
func watched(m *check.M) {
	well(m)
	m.Await(patience, "Prometheus to have begun", is("count(count_over_time(up[10s]) >= 2)", 3))
}
