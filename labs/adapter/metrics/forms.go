package metrics

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"distlab/lab/check"
)

// usual are the least that dashboards ask for: name, type, labels. Of Redis, then of nginx.
const usualRedis = `
redis_up gauge
redis_exporter_last_scrape_error gauge err
redis_exporter_last_scrape_duration_seconds gauge
redis_exporter_last_scrape_connect_time_seconds gauge
redis_exporter_scrapes_total counter
redis_uptime_in_seconds gauge
redis_start_time_seconds gauge
redis_connected_clients gauge
redis_blocked_clients gauge
redis_config_maxclients gauge
redis_memory_used_bytes gauge
redis_memory_used_rss_bytes gauge
redis_memory_used_peak_bytes gauge
redis_memory_max_bytes gauge
redis_mem_fragmentation_ratio gauge
redis_connected_slaves gauge
redis_master_repl_offset gauge
redis_db_keys gauge db
redis_db_keys_expiring gauge db
redis_db_avg_ttl_seconds gauge db
redis_slowlog_length gauge
redis_slowlog_last_id gauge
redis_rdb_last_save_timestamp_seconds gauge
redis_rdb_last_bgsave_status gauge
redis_rdb_changes_since_last_save gauge
redis_aof_enabled gauge
redis_loading_dump_file gauge
redis_latest_fork_seconds gauge
redis_connections_received_total counter
redis_commands_processed_total counter
redis_rejected_connections_total counter
redis_net_input_bytes_total counter
redis_net_output_bytes_total counter
redis_keyspace_hits_total counter
redis_keyspace_misses_total counter
redis_expired_keys_total counter
redis_evicted_keys_total counter
redis_expired_time_cap_reached_total counter
redis_cpu_sys_seconds_total counter
redis_cpu_user_seconds_total counter
redis_cpu_sys_children_seconds_total counter
redis_cpu_user_children_seconds_total counter
redis_total_error_replies counter
redis_commands_total counter cmd
redis_commands_duration_seconds_total counter cmd
redis_commands_failed_calls_total counter cmd
redis_commands_rejected_calls_total counter cmd
redis_errors_total counter err
redis_latency_percentiles_usec summary cmd
redis_commands_latencies_usec histogram cmd
redis_instance_info gauge role redis_version redis_build_id redis_mode os maxmemory_policy tcp_port run_id process_id master_replid
`

const usualNginx = `
nginx_up gauge
nginx_connections_active gauge
nginx_connections_reading gauge
nginx_connections_writing gauge
nginx_connections_waiting gauge
nginx_connections_accepted counter
nginx_connections_handled counter
nginx_http_requests_total counter
`

// legacy are the names that promlint finds fault with. They are the usual exporters': to mend them would empty dashboards.
var legacy = []string{
	"nginx_connections_accepted",
	"nginx_connections_handled",
	"redis_aof_current_rewrite_duration_sec",
	"redis_aof_last_rewrite_duration_sec",
	"redis_current_eviction_exceeded_time_ms",
	"redis_dump_payload_sanitizations",
	"redis_eviction_exceeded_time_ms_total",
	"redis_expire_cycle_cpu_time_ms_total",
	"redis_io_threaded_reads_processed",
	"redis_io_threaded_writes_processed",
	"redis_memory_used_vm_total",
	"redis_migrate_cached_sockets_total",
	"redis_rdb_current_bgsave_duration_sec",
	"redis_rdb_last_bgsave_duration_sec",
	"redis_rdb_saves_total",
	"redis_total_error_replies",
	"redis_total_reads_processed",
	"redis_total_writes_processed",
	"redis_unexpected_error_replies",
}

// busy makes sure that there is a key, an error, and a command in the statistics.
func busy(m *check.M) {
	m.Exec(redis, "redis-cli", "set", m.Fresh(), "a", "ex", "600")
	m.Try(redis, "redis-cli", "no-such-command")
}

// sampleName is the name of a sample in either form.
var sampleName = regexp.MustCompile(`(?m)^[a-zA-Z_:][a-zA-Z0-9_:]*`)

// names compares names, types and labels with the usual ones; the samples of OpenMetrics have the names of the text's.
func names(m *check.M) check.Result {
	well(m)
	busy(m)
	var ways check.Ways
	for _, at := range []struct{ way, pod, usual string }{{"Redis", redisPod, usualRedis}, {"nginx", nginxPod, usualNginx}} {
		f, text := scrape(m, at.pod, "/metrics", 0)
		for line := range strings.Lines(strings.TrimSpace(at.usual)) {
			words := strings.Fields(line)
			family := f[words[0]]
			var labels []string
			for _, s := range family.GetMetric() {
				for _, l := range s.Label {
					labels = append(labels, l.GetName())
				}
			}
			has := family != nil && strings.EqualFold(family.GetType().String(), words[1])
			for _, l := range words[2:] {
				has = has && slices.Contains(labels, l)
			}
			ways.Way(at.way).Note(has, "want %q, have %s %v", strings.TrimSpace(line), family.GetType(), slices.Compact(labels))
		}
		open := m.Get(at.pod, metricsPort, "/metrics", "Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
		check.Must(open.Is(200))
		inOpen := sampleName.FindAllString(string(open.Body), -1)
		for _, name := range sampleName.FindAllString(string(text.Body), -1) {
			ways.Way(at.way+" in OpenMetrics").Note(slices.Contains(inOpen, name), "no sample %s", name)
		}
	}
	return ways.Decide()
}

// lint asks promlint, of both servers.
func lint(m *check.M) check.Result {
	well(m)
	busy(m)
	var t check.Tally
	seen := map[string]bool{}
	for _, pod := range []string{redisPod, nginxPod} {
		f, _ := scrape(m, pod, "/metrics", 0)
		var all []*dto.MetricFamily
		for _, family := range f {
			all = append(all, family)
		}
		faults := map[string]string{}
		for _, p := range check.Got(promlint.NewWithMetricFamilies(all).Lint()) {
			faults[p.Metric] = p.Text
		}
		for name := range f {
			old := slices.Contains(legacy, name)
			seen[name] = true
			t.Note(old == (faults[name] != ""), "%s: %q", name, faults[name])
		}
	}
	for _, name := range legacy {
		t.Note(seen[name], "%s is not there", name)
	}
	return check.Decide(t.Whole(), "%v names are as listed", &t).Want("all, %d of them legacy", len(legacy)).Of(t.All()).Because("%s", t.Odd())
}

//go:embed grafana/dashboard.json
var dashboardFile []byte

// metricName is a metric's in an expression.
var metricName = regexp.MustCompile(`\b(redis|nginx)_[a-z0-9_]+`)

// dashboard asks Prometheus for each metric that the dashboard names, and for each of its expressions.
func dashboard(m *check.M) check.Result {
	well(m)
	busy(m)
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	check.Must(json.Unmarshal(dashboardFile, &d))
	var ways check.Ways
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "10s")
			_, bad := m.Until(5*time.Second, func(m *check.M) error { query(m, expr); return nil })
			ways.Way("expressions").Note(bad == nil, "%s: %v", p.Title, bad)
			found := metricName.FindAllString(expr, -1)
			ways.Way("expressions").Note(len(found) > 0, "%s names no metric", p.Title)
			for _, name := range found {
				_, last := m.Until(5*time.Second, func(m *check.M) error {
					if len(query(m, name)) == 0 {
						return fmt.Errorf("no %s in Prometheus", name)
					}
					return nil
				})
				ways.Way("metrics").Note(last == nil, "%s: %v", p.Title, last)
			}
		}
	}
	return ways.Decide()
}
