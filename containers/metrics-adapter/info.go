package main

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/resp"
)

// info is INFO's answer. Its fields are known by their names and never by their places: servers add some, anywhere.
type info struct {
	fields map[string]string
	names  []string // in the server's order, each once
}

// parseInfo reads lines of name:value; a value may have colons. What is not such a line is passed over.
func parseInfo(text string) info {
	in := info{fields: map[string]string{}}
	for line := range strings.Lines(text) {
		name, val, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok || name == "" || name[0] == '#' {
			continue
		}
		if _, twice := in.fields[name]; !twice {
			in.fields[name] = val
			in.names = append(in.names, name)
		}
	}
	return in
}

// number is a value as a number: the words of a status count, too.
func number(text string) (float64, bool) {
	switch text {
	case "ok", "true", "up":
		return 1, true
	case "err", "fail", "false", "down":
		return 0, true
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// parts are a value's name=value pairs. A value may have an equals sign.
func parts(text string) map[string]string {
	m := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if name, val, ok := strings.Cut(pair, "="); ok {
			m[name] = val
		}
	}
	return m
}

// Of what clients can make a server name, so many are shown: a label's values must have an end.
const (
	mostCommands = 2048
	mostErrors   = 128
	mostReplicas = 256
	mostDBs      = 1024
)

// database is the name of one. keysizes has names that begin alike: db0_distrib_strings_sizes.
var database = regexp.MustCompile(`^db[0-9]{1,5}$`)

// replica is the name of one in a primary's INFO.
var replica = regexp.MustCompile(`^slave[0-9]{1,5}$`)

// metrics adds what INFO and the settings say.
func (in info) metrics(p *page, config map[string]string, empty bool, now time.Time) {
	commands, errs, dbs, replicas := 0, 0, map[string]bool{}, 0
	for _, name := range in.names {
		val := in.fields[name]
		if f, ok := fields[name]; ok {
			if n, ok := number(val); ok {
				p.add(f.kind, "redis_"+f.name, f.help(name), n*f.scale())
			}
			continue
		}
		if cmd, ok := strings.CutPrefix(name, "cmdstat_"); ok && commands < mostCommands {
			commands++
			addCommand(p, cmd, parts(val))
		} else if cmd, ok := strings.CutPrefix(name, "latency_percentiles_usec_"); ok && commands < 2*mostCommands {
			in.addPercentiles(p, cmd, parts(val))
		} else if prefix, ok := strings.CutPrefix(name, "errorstat_"); ok && errs < mostErrors {
			errs++
			if n, ok := number(parts(val)["count"]); ok {
				p.add(counter, "redis_errors_total", "Errors that clients were answered, by their first word.", n, "err", prefix)
			}
		} else if database.MatchString(name) && len(dbs) < mostDBs {
			dbs[name] = true
			addDatabase(p, name, parts(val))
		} else if replica.MatchString(name) && replicas < mostReplicas {
			replicas++
			addReplica(p, parts(val))
		}
	}
	if empty {
		addEmpty(p, dbs, config)
	}
	in.addInstance(p, now)
	in.addPrimary(p)
	addConfig(p, config)
}

func addCommand(p *page, cmd string, is map[string]string) {
	for _, of := range []struct {
		part, name, help string
		scale            float64
	}{
		{"calls", "redis_commands_total", "Calls of each command.", 1},
		{"usec", "redis_commands_duration_seconds_total", "Time that each command took, in seconds.", 1e-6},
		{"rejected_calls", "redis_commands_rejected_calls_total", "Calls of each command that were refused before they ran.", 1},
		{"failed_calls", "redis_commands_failed_calls_total", "Calls of each command that failed.", 1},
	} {
		if n, ok := number(is[of.part]); ok {
			p.add(counter, of.name, of.help, n*of.scale, "cmd", cmd)
		}
	}
}

// calls and usec are a command's statistics.
func (in info) calls(cmd string) (calls uint64, usec float64) {
	is := parts(in.fields["cmdstat_"+cmd])
	calls, _ = strconv.ParseUint(is["calls"], 10, 64)
	usec, _ = number(is["usec"])
	return calls, usec
}

// addPercentiles adds the quantiles in percent, and the sum in microseconds: that is how redis_exporter has them, and what
// dashboards ask for.
func (in info) addPercentiles(p *page, cmd string, is map[string]string) {
	quantiles := map[float64]float64{}
	for name, val := range is {
		percent, err := strconv.ParseFloat(strings.TrimPrefix(name, "p"), 64)
		n, ok := number(val)
		if err == nil && ok && percent >= 0 && percent <= 100 {
			quantiles[percent] = n
		}
	}
	if len(quantiles) > 0 {
		calls, usec := in.calls(cmd)
		p.summary("redis_latency_percentiles_usec", "Percentiles of each command's latency, in microseconds.", calls, usec, quantiles, "cmd", cmd)
	}
}

// addLatencies adds LATENCY HISTOGRAM's answer: commands and maps in turns, and in a map names and values.
func (in info) addLatencies(p *page, v resp.Value) {
	for i := 0; i+1 < len(v.List) && i < 2*mostCommands; i += 2 {
		cmd, is := v.List[i].Text, v.List[i+1].List
		var count uint64
		buckets := map[float64]uint64{}
		for j := 0; j+1 < len(is); j += 2 {
			switch is[j].Text {
			case "calls":
				count = uint64(max(is[j+1].Num, 0))
			case "histogram_usec":
				for pair := range slices.Chunk(is[j+1].List, 2) {
					if len(pair) == 2 {
						buckets[float64(pair[0].Num)] = uint64(max(pair[1].Num, 0))
					}
				}
			}
		}
		_, usec := in.calls(cmd)
		p.histogram("redis_commands_latencies_usec", "Latency of each command, in microseconds.", count, usec, buckets, "cmd", cmd)
	}
}

const (
	keysHelp     = "Keys in each database."
	expiringHelp = "Keys with a time to live in each database."
)

// addDatabase: by name. The fourth field is KeyDB's cached_keys, and Redis 8's subexpiry.
func addDatabase(p *page, db string, is map[string]string) {
	if n, ok := number(is["keys"]); ok {
		p.add(gauge, "redis_db_keys", keysHelp, n, "db", db)
	}
	if n, ok := number(is["expires"]); ok {
		p.add(gauge, "redis_db_keys_expiring", expiringHelp, n, "db", db)
	}
	if n, ok := number(is["avg_ttl"]); ok {
		p.add(gauge, "redis_db_avg_ttl_seconds", "Mean time to live in each database, in seconds.", n/1e3, "db", db)
	}
	if n, ok := number(is["cached_keys"]); ok {
		p.add(gauge, "redis_db_keys_cached", "Cached keys in each database of a KeyDB.", n, "db", db)
	}
}

// addEmpty adds the databases that INFO leaves out, since they are empty. A count that vanishes looks like a server that does.
func addEmpty(p *page, there map[string]bool, config map[string]string) {
	n, err := strconv.Atoi(config["databases"])
	if err != nil || n < 0 {
		n = 16
	}
	for i := range min(n, mostDBs) {
		if db := "db" + strconv.Itoa(i); !there[db] {
			p.add(gauge, "redis_db_keys", keysHelp, 0, "db", db)
			p.add(gauge, "redis_db_keys_expiring", expiringHelp, 0, "db", db)
		}
	}
}

func addReplica(p *page, is map[string]string) {
	labels := []string{"slave_ip", is["ip"], "slave_port", is["port"], "slave_state", is["state"]}
	if n, ok := number(is["lag"]); ok {
		p.add(gauge, "redis_connected_slave_lag_seconds", "Time since each replica's last sign, in seconds.", n, labels...)
	}
	if n, ok := number(is["offset"]); ok {
		p.add(gauge, "redis_connected_slave_offset_bytes", "How far each replica is, in bytes.", n, labels...)
	}
}

// addInstance adds who the server is. Valkey says the version of Redis that it is compatible with, and its own beside it.
func (in info) addInstance(p *page, now time.Time) {
	mode := in.fields["redis_mode"]
	if mode == "" {
		mode = in.fields["server_mode"]
	}
	labels := []string{"redis_mode", mode}
	for _, name := range []string{
		"role", "redis_version", "redis_build_id", "os", "maxmemory_policy", "tcp_port", "run_id", "process_id", "master_replid",
	} {
		labels = append(labels, name, in.fields[name])
	}
	for _, name := range []string{"valkey_version", "valkey_release_stage"} {
		if v := in.fields[name]; v != "" {
			labels = append(labels, name, v)
		}
	}
	p.add(gauge, "redis_instance_info", "Always 1; the labels say which server it is.", 1, labels...)
	if up, ok := number(in.fields["uptime_in_seconds"]); ok {
		if usec, ok := number(in.fields["server_time_usec"]); ok { // the server's own clock, if it says
			now = time.UnixMicro(int64(usec))
		}
		p.add(gauge, "redis_start_time_seconds", "When the server started, in seconds since 1970.", float64(now.Unix())-up)
	}
}

// addPrimary adds what a replica says of its primary.
func (in info) addPrimary(p *page) {
	if in.fields["role"] != "slave" {
		return
	}
	from := []string{"master_host", in.fields["master_host"], "master_port", in.fields["master_port"]}
	for _, of := range []struct{ field, name, help string }{
		{"master_link_status", "redis_master_link_up", "1 if the replica is connected to its primary."},
		{"master_last_io_seconds_ago", "redis_master_last_io_seconds_ago", "Time since the primary's last sign, in seconds; -1 is none."},
		{"master_sync_in_progress", "redis_master_sync_in_progress", "1 while the replica fetches everything from its primary."},
		{"slave_repl_offset", "redis_slave_repl_offset", "How far the replica is, in bytes."},
	} {
		if n, ok := number(in.fields[of.field]); ok {
			p.add(gauge, of.name, of.help, n, from...)
		}
	}
	p.add(gauge, "redis_slave_info", "Always 1; the labels say whose replica it is.", 1, append(from, "read_only", in.fields["slave_read_only"])...)
}

func addConfig(p *page, config map[string]string) {
	for _, of := range []struct{ name, metric, help string }{
		{"maxclients", "redis_config_maxclients", "Most clients, by the settings."},
		{"maxmemory", "redis_config_maxmemory", "Most memory, by the settings, in bytes; 0 is no limit."},
		{"io-threads", "redis_config_io_threads", "Threads that read and write, by the settings."},
	} {
		if n, ok := number(config[of.name]); ok {
			p.add(gauge, of.metric, of.help, n)
		}
	}
	words := strings.Fields(config["client-output-buffer-limit"]) // class hard soft seconds, for each class
	for set := range slices.Chunk(words, 4) {
		if len(set) < 4 {
			break
		}
		for i, limit := range []string{"hard", "soft"} {
			if n, ok := number(set[1+i]); ok {
				p.add(gauge, "redis_config_client_output_buffer_limit_bytes", "Most that waits for a client, in bytes; 0 is no limit.", n,
					"class", set[0], "limit", limit)
			}
		}
		if n, ok := number(set[3]); ok {
			p.add(gauge, "redis_config_client_output_buffer_limit_overcome_seconds", "How long a client may be above the soft limit, in seconds.", n,
				"class", set[0], "limit", "soft")
		}
	}
}

func addSlowlogLength(p *page, v resp.Value) {
	p.add(gauge, "redis_slowlog_length", "Entries in the slow log.", float64(v.Num))
}

// addSlowlog adds what the newest entry says: its number, when, and how long it took. Of an empty log all is 0.
func addSlowlog(p *page, v resp.Value) {
	var id, usec int64
	if len(v.List) > 0 && len(v.List[0].List) >= 3 {
		id, usec = v.List[0].List[0].Num, v.List[0].List[2].Num
	}
	p.add(gauge, "redis_slowlog_last_id", "Number of the newest entry in the slow log.", float64(id))
	p.add(gauge, "redis_last_slow_execution_duration_seconds", "How long the newest entry in the slow log took, in seconds.", float64(usec)/1e6)
}

// addSpikes adds LATENCY LATEST's answer: event, when, how long in milliseconds, the longest.
func addSpikes(p *page, v resp.Value) {
	for _, e := range v.List {
		if len(e.List) >= 3 {
			name := e.List[0].Text
			p.add(gauge, "redis_latency_spike_last", "When the last latency spike was, in seconds since 1970.", float64(e.List[1].Num), "event_name", name)
			p.add(gauge, "redis_latency_spike_duration_seconds", "How long the last latency spike was, in seconds.", float64(e.List[2].Num)/1e3, "event_name", name)
		}
	}
}

// addCluster adds CLUSTER INFO's answer, which is written as INFO's.
func addCluster(p *page, v resp.Value) {
	in := parseInfo(v.Text)
	for name, f := range clusterFields {
		if n, ok := number(in.fields[name]); ok {
			p.add(gauge, "redis_"+f, "The field "+name+" of CLUSTER INFO.", n)
		}
	}
}
