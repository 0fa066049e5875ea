package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"distlab/containers/internal/resp"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

// server are the answers of a Redis 8.0.2 with this INFO.
func server(info string) map[string]string {
	return map[string]string{
		"INFO ALL":             bulk(info),
		"CONFIG GET databases": "*2\r\n" + bulk("databases") + bulk("4"), "CONFIG GET maxclients": "*2\r\n" + bulk("maxclients") + bulk("10000"),
		"CONFIG GET maxmemory": "*2\r\n" + bulk("maxmemory") + bulk("0"), "CONFIG GET io-threads": "*2\r\n" + bulk("io-threads") + bulk("1"),
		"CONFIG GET client-output-buffer-limit": "*2\r\n" + bulk("client-output-buffer-limit") +
			bulk("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
		"SLOWLOG LEN":       ":2\r\n",
		"SLOWLOG GET 1":     "*1\r\n*6\r\n:17\r\n:1700000000\r\n:25000\r\n*1\r\n" + bulk("GET") + bulk("127.0.0.1:1") + bulk(""),
		"LATENCY LATEST":    "*1\r\n*4\r\n" + bulk("command") + ":1700000001\r\n:250\r\n:300\r\n",
		"LATENCY HISTOGRAM": "*2\r\n" + bulk("set") + "*4\r\n" + bulk("calls") + ":2\r\n" + bulk("histogram_usec") + "*4\r\n:66\r\n:1\r\n:132\r\n:2\r\n",
	}
}

// leftOut are redis_exporter's metrics that this program does not have; its README says why. added are those that
// redis_exporter would have too, had there been a spike.
var (
	leftOut = []string{"redis_db_keys_cached", "redis_last_key_groups_scrape_duration_milliseconds", "redis_target_scrape_request_errors_total"}
	added   = []string{"redis_latency_spike_duration_seconds", "redis_latency_spike_last"}
)

// TestNames: names and types are those that redis_exporter 1.69 gave of the same two servers.
func TestNames(t *testing.T) {
	types := map[string]string{}
	for _, role := range []string{"master", "replica"} {
		f := startRedis(t, server(golden(t, "info-8.0.2-"+role+".txt")))
		for name, family := range collect(t, f) {
			types[name] = strings.ToLower(family.GetType().String())
		}
	}
	want := map[string]string{}
	for line := range strings.Lines(golden(t, "redis_exporter-1.69.0.names")) {
		name, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
		want[name] = kind
	}
	for _, name := range leftOut {
		if want[name] == "" {
			t.Errorf("%s is not redis_exporter's", name)
		}
		delete(want, name)
	}
	for _, name := range added {
		want[name] = "gauge"
	}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("-redis_exporter +ours:\n%s", diff)
	}
}

// TestLint: promlint finds fault with the legacy names, and with nothing else.
func TestLint(t *testing.T) {
	found := map[string]bool{}
	lint := func(families map[string]*dto.MetricFamily) {
		var all []*dto.MetricFamily
		for _, f := range families {
			all = append(all, f)
		}
		problems, err := promlint.NewWithMetricFamilies(all).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			found[p.Metric] = true
		}
	}
	lint(collect(t, startRedis(t, server(golden(t, "info-8.0.2-master.txt")))))
	lint(collect(t, startRedis(t, server(golden(t, "info-8.0.2-replica.txt")))))
	lint(statusOf(t, debianPage))
	var got []string
	for name := range found {
		got = append(got, name)
	}
	slices.Sort(got)
	want := strings.Fields(golden(t, "legacy.names"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-legacy.names +found:\n%s", diff)
	}
}

// TestInfo: what INFO of several servers says is read by name.
func TestInfo(t *testing.T) {
	for _, c := range []struct {
		name, info string
		want       []string
	}{
		{"subexpiry of Redis 8 is no cached_keys", "db0:keys=2,expires=1,avg_ttl=98545,subexpiry=1", []string{
			"redis_db_keys{db=db0} 2", "redis_db_keys_expiring{db=db0} 1", "redis_db_avg_ttl_seconds{db=db0} 98.545", "redis_db_keys_cached{db=db0}",
		}},
		{"KeyDB's cached_keys are", "db0:keys=2,expires=1,avg_ttl=0,cached_keys=7", []string{"redis_db_keys_cached{db=db0} 7"}},
		{"key sizes are no databases", "db0:keys=1,expires=0,avg_ttl=0\r\ndb0_distrib_strings_sizes:1=1", []string{
			"redis_db_keys{db=db0} 1", "redis_db_keys{db=db0_distrib_strings_sizes}",
		}},
		{"empty databases up to CONFIG's", "db2:keys=5,expires=0,avg_ttl=0", []string{
			"redis_db_keys{db=db0} 0", "redis_db_keys{db=db2} 5", "redis_db_keys{db=db3} 0", "redis_db_keys{db=db4}", "redis_db_avg_ttl_seconds{db=db0}",
		}},
		{"subcommands", "cmdstat_config|get:calls=3,usec=1500000,usec_per_call=5.0,rejected_calls=1,failed_calls=2", []string{
			"redis_commands_total{cmd=config|get} 3", "redis_commands_duration_seconds_total{cmd=config|get} 1.5",
			"redis_commands_rejected_calls_total{cmd=config|get} 1", "redis_commands_failed_calls_total{cmd=config|get} 2",
		}},
		{"before 6.2 no call failed", "cmdstat_get:calls=3,usec=10,usec_per_call=3.33", []string{
			"redis_commands_total{cmd=get} 3", "redis_commands_failed_calls_total{cmd=get}",
		}},
		{"errors", "errorstat_WRONG=TYPE:count=4\r\nerrorstat_ERR:count=1", []string{
			"redis_errors_total{err=WRONG=TYPE} 4", "redis_errors_total{err=ERR} 1",
		}},
		{"Valkey", "server_name:valkey\r\nserver_mode:standalone\r\nvalkey_version:8.1.1\r\nvalkey_release_stage:ga", []string{
			"redis_instance_info{redis_mode=standalone,valkey_version=8.1.1,valkey_release_stage=ga} 1",
		}},
		{"status words", "rdb_last_bgsave_status:err\r\naof_last_write_status:ok\r\nloading:1", []string{
			"redis_rdb_last_bgsave_status 0", "redis_aof_last_write_status 1", "redis_loading_dump_file 1",
		}},
		{"a fork in seconds, a gauge", "latest_fork_usec:2500000", []string{"redis_latest_fork_seconds 2.5"}},
		{"the start by the server's clock", "server_time_usec:1700000100999999\r\nuptime_in_seconds:100", []string{"redis_start_time_seconds 1.7e+09"}},
		{"a replica", "role:slave\r\nmaster_host:fd00::1\r\nmaster_port:6379\r\nmaster_link_status:up\r\nslave_read_only:1\r\nslave_repl_offset:42", []string{
			"redis_master_link_up{master_host=fd00::1,master_port=6379} 1", "redis_slave_info{master_host=fd00::1,read_only=1} 1",
			"redis_slave_repl_offset{master_port=6379} 42", "redis_master_sync_in_progress",
		}},
		{"a primary", "role:master\r\nslave0:ip=10.0.0.1,port=6379,state=online,offset=84,lag=1", []string{
			"redis_connected_slave_lag_seconds{slave_ip=10.0.0.1,slave_port=6379,slave_state=online} 1", "redis_connected_slave_offset_bytes 84",
			"redis_slave_info", "redis_master_link_up",
		}},
		{"no numbers", "used_memory:lots\r\nmaxmemory:nan\r\nconnected_clients:inf\r\nno colon\r\n:\r\n# uptime_in_seconds:1", []string{
			"redis_memory_used_bytes", "redis_memory_max_bytes", "redis_connected_clients", "redis_uptime_in_seconds", "redis_up 1",
		}},
		{"twice", "used_memory:1\r\nused_memory:2\r\ncmdstat_a:calls=1\r\ncmdstat_a:calls=2", []string{
			"redis_memory_used_bytes 1", "redis_commands_total{cmd=a} 1",
		}},
		{"bytes that are no text", "cmdstat_\xff\xfe:calls=1", []string{"redis_commands_total{cmd=\uFFFD} 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wants(t, collect(t, startRedis(t, server("redis_version:8.0.2\r\n"+c.info+"\r\n"))), c.want...)
		})
	}
}

// TestQuantiles: in percent, as redis_exporter has them.
func TestQuantiles(t *testing.T) {
	p := collect(t, startRedis(t, server("redis_version:8\r\ncmdstat_set:calls=2,usec=117\r\nlatency_percentiles_usec_set:p50=24.063,p99=93.183,p99.9=93.5,px=1,p101=2\r\n")))
	s := p["redis_latency_percentiles_usec"].GetMetric()[0].GetSummary()
	got := map[float64]float64{}
	for _, q := range s.Quantile {
		got[q.GetQuantile()] = q.GetValue()
	}
	if diff := cmp.Diff(map[float64]float64{50: 24.063, 99: 93.183, 99.9: 93.5}, got); diff != "" || s.GetSampleCount() != 2 || s.GetSampleSum() != 117 {
		t.Errorf("count %d, sum %v: %s", s.GetSampleCount(), s.GetSampleSum(), diff)
	}
	h := p["redis_commands_latencies_usec"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 2 || h.GetSampleSum() != 117 || h.Bucket[0].GetUpperBound() != 66 || h.Bucket[0].GetCumulativeCount() != 1 {
		t.Errorf("histogram %v", h)
	}
}

// TestForbidden: a Redis whose other commands are forbidden is up; INFO must be answered.
func TestForbidden(t *testing.T) {
	f := startRedis(t, map[string]string{"INFO ALL": bulk("redis_version:7.0.15\r\nused_memory:5\r\nloading:1\r\n")})
	wants(t, collect(t, f), "redis_up 1", "redis_memory_used_bytes 5", "redis_slowlog_length", "redis_config_maxclients", "redis_db_keys{db=db15} 0")
}

// TestDown: each way of not answering is up 0 with its reason, and no number of before.
func TestDown(t *testing.T) {
	for reason, answer := range map[string]string{
		"login": "-NOAUTH Authentication required.\r\n", "permission": "-NOPERM no permissions to run 'info'\r\n", "timeout": "hang:",
		"server": "-ERR busy\r\n", "protocol": "HTTP/1.1 400 Bad Request\r\n\r\n", "network": "",
	} {
		t.Run(reason, func(t *testing.T) {
			answers := server("redis_version:8\r\nused_memory:5\r\n")
			f := startRedis(t, answers)
			target := newTarget(&Redis{Addr: f.addr}, 300*time.Millisecond)
			wants(t, gather(t, target.Scrape(context.Background())), "redis_up 1", "redis_memory_used_bytes 5", "redis_exporter_last_scrape_error{err=} 0")
			if answer == "" {
				answer, reason = "cut", "protocol" // closed before an answer
			}
			f.set("INFO ALL", answer)
			defer close(f.free)
			wants(t, gather(t, target.Scrape(context.Background())), "redis_up 0", "redis_memory_used_bytes",
				"redis_exporter_last_scrape_error{err="+reason+"} 1", "redis_exporter_scrapes_total 2")
		})
	}
	// A want of this machine's is not told of the server.
	for _, err := range []error{
		&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}, fmt.Errorf("x: %w", syscall.ENOBUFS),
		&net.DNSError{Err: "dial udp: socket: too many open files", Name: "redis"},
	} {
		if got := reasonOf(err); got != "local" {
			t.Errorf("%v is %q", err, got)
		}
	}
	for reason, addr := range map[string]string{"refused": "127.0.0.1:1", "name": "no.such.name.invalid:6379"} {
		p := gather(t, newTarget(&Redis{Addr: addr}, 2*time.Second).Scrape(context.Background()))
		wants(t, p, "redis_up 0", "redis_exporter_last_scrape_error{err="+reason+"} 1")
	}
}

// TestPassword: the file is read at each login.
func TestPassword(t *testing.T) {
	answers := server("redis_version:8\r\n")
	answers["AUTH metrics one"], answers["AUTH metrics two"] = "-WRONGPASS invalid\r\n", "+OK\r\n"
	f := startRedis(t, answers)
	path := filepath.Join(t.TempDir(), "password")
	target := newTarget(&Redis{Addr: f.addr, Username: "metrics", PasswordPath: path}, time.Second)
	scrape := func(want string) {
		t.Helper()
		wants(t, gather(t, target.Scrape(context.Background())), "redis_exporter_last_scrape_error{err="+want+"} 1")
	}
	scrape("password")
	for password, want := range map[string]string{"one": "login"} {
		if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		scrape(want)
	}
	if err := os.WriteFile(path, []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, gather(t, target.Scrape(context.Background())), "redis_up 1")
}

// TestCluster: only a cluster is asked for its state.
func TestCluster(t *testing.T) {
	answers := server("redis_version:8\r\ncluster_enabled:1\r\n")
	answers["CLUSTER INFO"] = bulk("cluster_state:fail\r\ncluster_slots_assigned:16384\r\ncluster_stats_messages_sent:12\r\n")
	wants(t, collect(t, startRedis(t, answers)), "redis_cluster_enabled 1", "redis_cluster_state 0", "redis_cluster_slots_assigned 16384", "redis_cluster_messages_sent_total 12")
	f := startRedis(t, server("redis_version:8\r\ncluster_enabled:0\r\n"))
	collect(t, f)
	if n := f.count("CLUSTER INFO"); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

func FuzzReply(f *testing.F) {
	for _, answer := range server("redis_version:8\r\n") {
		f.Add(answer)
	}
	f.Add("*-1\r\n")
	f.Add("-NOAUTH x\r\n")
	f.Fuzz(func(_ *testing.T, raw string) {
		r := resp.NewReader(strings.NewReader(raw))
		v, err := r.Reply(replyBudget)
		if err != nil {
			return
		}
		p := &page{}
		addSlowlog(p, v)
		addSpikes(p, v)
		addCluster(p, v)
		info{}.addLatencies(p, v)
	})
}

func FuzzInfo(f *testing.F) {
	f.Add(golden(f, "info-8.0.2-master.txt"))
	f.Add(golden(f, "info-8.0.2-replica.txt"))
	f.Add("db0:keys=1\ncmdstat_:calls=1\nerrorstat_=:count=NaN\nlatency_percentiles_usec_x:p1e2=3\nslave0:lag=1")
	f.Fuzz(func(t *testing.T, text string) {
		p := &page{}
		parseInfo(text).metrics(p, map[string]string{"databases": "3", "client-output-buffer-limit": text}, true, time.Now())
		gather(t, p) // whatever a server says of itself makes a consistent page
	})
}
