package slowlog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"distlab/lab/check"
)

// exactlyOnce makes slow commands that fall into several polls, short ones and long ones, few and more than a hundred at a
// time, and commands whose arguments are any bytes; and compares the lines with what another reader of Redis's log sees.
func exactlyOnce(m *check.M) check.Result {
	const ms = time.Millisecond
	var as check.Ways
	compare := func(way string, make func() []string) {
		since := time.Now()
		markers := make()
		truth := logged(entries(m), markers)
		m.Need(len(truth) == len(markers), "Redis's own log has %d of %d slow commands", len(truth), len(markers))
		found := byMarker(awaitAll(m, since, markers), markers)
		for _, marker := range markers {
			e, got := truth[marker], found[marker]
			as.Way(way).Note(len(got) == 1 && same(e, got[0]), "Redis has %+v, written were %+v", e, got)
		}
	}
	compare("in several polls", func() (markers []string) {
		for range 4 {
			markers = append(markers, slow(m, 6, 12*ms, 30*ms)...)
		}
		return markers
	})
	compare("slower and slower", func() []string { return slowly(m, 50*ms, 99*ms, 101*ms, 260*ms, 1100*ms) })
	compare("120 in a row", func() []string { return slow(m, 120, 11*ms, 12*ms) })
	compare("110 in one poll", func() (markers []string) { // Redis keeps 128
		var commands [][]string
		for i := range 110 {
			markers = append(markers, fmt.Sprintf("%s-%d", m.Fresh(), i))
			commands = append(commands, []string{"DEL", markers[i]})
		}
		everything(m, func() { do(m, commands...) })
		return markers
	})
	compare("arguments of any bytes", func() (markers []string) {
		long := strings.Repeat("x", 300)
		var commands [][]string
		for i, args := range [][]string{
			{"\xff"},
			{`\xff`},
			{"\t\n\x00"},
			{"\u00a0é日"},
			{""},
			{`"quoted" \`},
			{long[:128]},
			{long[:129]},
			{long},
			slices.Repeat([]string{"a"}, 29), slices.Repeat([]string{"a"}, 60), // Redis keeps 32
		} {
			marker := fmt.Sprintf("%s-%d", m.Fresh(), i)
			markers = append(markers, marker)
			commands = append(commands, append([]string{"DEL", marker}, args...))
		}
		everything(m, func() { do(m, commands...) })
		return markers
	})
	return as.Decide()
}

// same says whether a line is an entry as Redis has it.
func same(e goredis.SlowLog, l line) bool {
	args := make([]string, len(l.Argv))
	for i, a := range l.Argv {
		args[i] = bytesOf(a)
	}
	return l.ID == e.ID && l.DurationUS == e.Duration.Microseconds() && slices.Equal(args, e.Args) &&
		l.Time == e.Time.UTC().Format(time.RFC3339) && bytesOf(l.ClientName) == e.ClientName
}

// ownLeftOut has Redis log every command. Then its log has the adapter's own, or nothing is shown.
func ownLeftOut(m *check.M) check.Result {
	const polls = 5
	since := time.Now()
	var markers []string
	var log []goredis.SlowLog
	everything(m, func() {
		further(m, polls)
		markers = slow(m, 1, 12*time.Millisecond, 12*time.Millisecond)
		log = entries(m)
	})
	own := 0
	for _, e := range log {
		if strings.HasPrefix(e.ClientName, ownName) {
			own++
		}
	}
	m.Need(own >= polls-1, "Redis logged %d commands of the adapter in %d polls", own, polls)
	lines := awaitAll(m, since, markers)
	m.Need(len(byMarker(lines, markers)) == 1, "a slow command after them was not written either")
	written := 0
	for _, l := range events(lines, "slow") {
		if strings.HasPrefix(l.ClientName, ownName) {
			written++
		}
	}
	return check.Decide(written == 0, "%d of %d own entries written", written, own).Want("none").Of(own)
}

// redacted gives each command that must be hidden a secret of its own, however it is spelled. Redis hides some itself;
// those that its log shows to every reader are the sample that matters. Of each, one line must be left, with its
// name and no more; and a command that need not be hidden shows that arguments are written.
func redacted(m *check.M) check.Result {
	since := time.Now()
	tag := m.Fresh()
	shown, n := tag+"-shown", 0
	type hidden struct{ args, left []string }
	var all []hidden
	add := func(keep int, words string) {
		for _, spelled := range []func(string) string{strings.ToLower, strings.ToUpper, func(s string) string { return strings.ToUpper(s[:1]) + s[1:] }} {
			args := strings.Fields(words)
			for i, a := range args {
				if i < 2 && a != "SECRET" {
					args[i] = spelled(a)
				}
				args[i] = strings.ReplaceAll(args[i], "SECRET", fmt.Sprintf("%s-secret-%d-", tag, n))
			}
			n++
			all = append(all, hidden{args, append(slices.Clone(args[:keep]), "(redacted)")})
		}
	}
	for _, words := range []string{
		"auth nobody SECRET", "auth SECRET", "hello 2 auth nobody SECRET", "hello 3 auth nobody SECRET", "config get SECRET",
		"config set requirepass-SECRET SECRET", "acl setuser lab-nobody >SECRET", "acl deluser SECRET", "acl dryrun default get SECRET",
		"migrate 127.0.0.1 1 SECRET 0 10 auth SECRET", "setex lab-session 1 SECRET",
	} {
		add(1, words)
	}
	add(2, "client setinfo lib-name SECRET") // which is named in REDACT with its subcommand
	everything(m, func() {
		for _, h := range all { // one at a time: the connection that changes who it is ends
			do(m, h.args)
		}
		do(m, []string{"MULTI"}, []string{"SET", shown, "x"}, []string{"SETEX", "lab-session", "1", all[0].args[2]}, []string{"EXEC"},
			[]string{"GET", shown}, []string{"ACL", "DELUSER", "lab-nobody"})
	})
	log := entries(m)
	lines := awaitAll(m, since, []string{shown})
	m.Need(len(byMarker(lines, []string{shown})[shown]) >= 1, "the arguments of GET were not written either")
	text := m.Logs(adapter, since)
	inRedis, leaked := 0, strings.Count(text, tag+"-secret-")
	for i := range all {
		if slices.ContainsFunc(log, func(e goredis.SlowLog) bool {
			return strings.Contains(strings.Join(e.Args, " "), fmt.Sprintf("%s-secret-%d-", tag, i))
		}) {
			inRedis++
		}
	}
	m.Need(inRedis >= len(all)/3, "Redis's own log shows %d of %d secrets: too few could leak", inRedis, len(all))
	var as check.Ways
	as.Way("secrets").Note(leaked == 0, "%d were written, of %d that Redis's own log shows", leaked, inRedis)
	left := map[string]int{}
	for _, l := range events(lines, "slow") {
		left[string(check.Got(json.Marshal(l.Argv)))]++
	}
	want := map[string]int{}
	for _, h := range all {
		want[string(check.Got(json.Marshal(h.left)))]++
	}
	for form, count := range want {
		as.Way("lines").Note(left[form] >= count, "%s was written %d times, want %d", form, left[form], count)
	}
	return as.Decide().Because("Redis's own log shows %d of %d secrets", inRedis, len(all))
}

// nonDestructive lets the adapter read and poll on, and then counts what another reader sees: few entries, more than a
// hundred, and as many as Redis keeps, after the log has overflowed while the adapter could not read.
func nonDestructive(m *check.M) check.Result {
	const keeps = 128
	var as check.Ways
	for _, n := range []int{10, 110, 150} {
		way := as.Way(fmt.Sprintf("%d entries", n))
		before, since := resets(m), time.Now()
		var markers []string
		make := func() { markers = slow(m, n, 11*time.Millisecond, 12*time.Millisecond) }
		if n > keeps {
			f := m.Pause(adapter)
			make()
			m.Heal(f)
		} else {
			make()
		}
		markers = markers[max(0, n-keeps):]
		read := len(byMarker(awaitAll(m, since, markers), markers))
		m.Need(read > 0, "the adapter has read none of %d entries", n)
		left := len(logged(entries(m), markers))
		after := resets(m)
		// A few commands of others may be slow on a busy machine, and push out the oldest.
		way.Note((left == len(markers) || n > keeps && left >= len(markers)-keeps/8) && after == before,
			"another reader sees %d of %d, SLOWLOG RESET was called %d times; the adapter wrote %d", left, len(markers), after-before, read)
	}
	return as.Decide()
}
