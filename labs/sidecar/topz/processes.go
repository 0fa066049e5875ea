package topz

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// formats are the ways in which /topz can be asked.
var formats = []string{"text", "wide", "html", "json"}

// page is /topz in a format.
func page(m *check.M, format string) check.Page {
	return m.Get(pod, topzPort, "/topz?sort=pid&limit=10000&format="+format)
}

// seesApp compares a look with what the burner sees in the same PID namespace before and after it, and each row's container with
// the containers that the engine has in the pod. Then the app is killed: its row goes, and comes again with it.
func seesApp(m *check.M) check.Result {
	const limit = 5 * time.Second
	feed(m, `{"children":0}`)
	ours := map[string]string{"self": sidecar} // control groups of version 2 show one's own so
	for _, service := range []string{pod, app, burner, sidecar} {
		ours[m.Replicas(service)[0].ID[:12]] = service
	}
	before := witness(m)
	t := lookSince(m, readBurner(m).Time)
	after := witness(m)

	var ways check.Ways
	all, host := ways.Way("processes"), ways.Way("none of the host")
	for _, p := range before {
		if !slices.ContainsFunc(after, func(q seen) bool { return q.PID == p.PID && q.Name == p.Name }) {
			continue // it ended meanwhile: a health check
		}
		r, ok := t.byPID(p.PID)
		all.Note(ok && r.Name == p.Name, "process %d %q is shown as %q", p.PID, p.Name, r.Name)
	}
	services := map[string]int{}
	for _, r := range t.Processes {
		service, ok := ours[r.Container]
		host.Note(ok, "process %d %s is of container %s", r.PID, r.Command, r.Container)
		services[service]++
	}
	for _, service := range []string{pod, app, burner, sidecar} {
		all.Note(services[service] > 0, "nothing of %s is shown", service)
	}
	first, _ := t.byPID(1)
	all.Note(first.Name == "pause", "process 1 is %q", first.Name)

	way := ways.Way("formats")
	for _, format := range formats {
		p := page(m, format)
		way.Note(p.Status == http.StatusOK && bytes.Contains(p.Body, []byte("/legacy-app")), "%s: %d, without the app", format, p.Status)
	}
	n := m.Counter(pod, adminPort, "topz_sidecar_group_processes", `group="legacy-app"`)
	way.Note(n >= 1, "the metrics have %v processes of the app", n)

	again := ways.Way("a restarted app")
	old := t.named("legacy-app")
	if len(old) == 0 {
		return ways.Decide() // there is nothing that could be shown again
	}
	gone := m.Kill(app)
	left, _ := m.Until(2*limit, func(m *check.M) error {
		return expect(len(look(m).named("legacy-app")), 0)
	})
	m.Heal(gone)
	back, _ := m.Until(2*limit, func(m *check.M) error {
		rows := look(m).named("legacy-app")
		if len(rows) > 0 && rows[0].PID == old[0].PID {
			return fmt.Errorf("under its old PID %d", rows[0].PID)
		}
		return expect(min(len(rows), 1), 1)
	})
	again.Note(left.Within(limit), "killed, its row was gone after %v", left)
	again.Note(back.Within(limit), "started, it was shown after %v", back)
	return ways.Decide()
}

func expect(got, want int) error {
	if got != want {
		return fmt.Errorf("%d rows", got)
	}
	return nil
}

// survivesExit asks in every format, again and again, while children begin and end, and kills the app meanwhile.
func survivesExit(m *check.M) check.Result {
	defer calm(m)
	const children, rounds, enough, patience = 500, 20, 6, 45 * time.Second
	pid := readBurner(m).PID
	begun := feed(m, `{"children":200}`)
	var pages, rows check.Tally
	looks := map[time.Time]bool{}
	ask := func(m *check.M) {
		for _, format := range formats {
			p := page(m, format)
			pages.Note(p.Status == http.StatusOK, "%s: %d %.100q", format, p.Status, p.Body)
		}
		metrics := m.Get(pod, adminPort, "/metrics")
		pages.Note(metrics.Status == http.StatusOK, "metrics: %d %.100q", metrics.Status, metrics.Body)
		t := look(m)
		looks[t.To] = true
		r, ok := t.byPID(pid)
		rows.Note(ok && r.Name == burner, "the burner is not shown")
		once := map[int]bool{}
		for _, r := range t.Processes {
			rows.Note(!once[r.PID] && r.PID > 0, "process %d is shown twice", r.PID)
			once[r.PID] = true
		}
	}
	var gone *check.Fault
	ended := 0
	start := time.Now()
	for i := 0; (ended < children || i < rounds || len(looks) < enough) && time.Since(start) < patience; i++ {
		ask(m)
		if gone == nil && i >= rounds/2 {
			gone = m.Kill(app)
		}
		ended = readBurner(m).Started - begun.Started
	}
	m.Need(gone != nil && ended >= children, "only %d processes ended in %v: the machine is too busy", ended, patience)
	m.Heal(gone)
	feed(m, `{"children":0}`)
	ask(m)
	return check.Decide(pages.Whole() && rows.Whole() && len(looks) >= enough, "%v pages, %v rows, in %d looks while %d processes ended", &pages, &rows, len(looks), ended).
		Want("all, in %d looks", enough).Of(pages.All()).Because("%s\n%s", pages.Odd(), rows.Odd())
}

// noExtraRights asks the kernel, by way of the burner, what the sidecar may do, and looks at two rows: the app's, which is
// of another user, and the burner's, which is of the sidecar's own.
func noExtraRights(m *check.M) check.Result {
	none := regexp.MustCompile(`^0+$`)
	var ways check.Ways
	rights := ways.Way("rights")
	found := false
	for _, p := range witness(m) {
		if p.Name == sidecar {
			found = true
			rights.Note(none.MatchString(p.Capabilities) && none.MatchString(p.Permitted) && none.MatchString(p.Bounding) && p.NoNewPrivs == "1" &&
				p.User != "0", "user %s, capabilities %s, of %s, of %s, no new privileges %s", p.User, p.Capabilities, p.Permitted, p.Bounding, p.NoNewPrivs)
		}
	}
	m.Need(found, "the sidecar is not in the pod's PID namespace")
	t := lookSince(m, readBurner(m).Time)
	theirs, own := t.named("legacy-app"), burnerRow(m, t, readBurner(m).PID)
	// A health check is the app's program too, with an argument.
	theirs = slices.DeleteFunc(theirs, func(r row) bool { return r.Command != "/legacy-app" })
	m.Need(len(theirs) == 1, "%d rows of the app", len(theirs))
	other := theirs[0]
	refused := ways.Way("another user's process")
	refused.Note(other.User != nil && *other.User == appUser, "its user is shown as %v", other.User)
	refused.Note(slices.Contains(other.Denied, "io") && slices.Contains(other.Denied, "executable"), "denied %v", other.Denied)
	refused.Note(other.Read == nil, "what it read is shown, as %v", other.Read)
	refused.Note(other.CPU != nil && other.Memory > 1<<20, "CPU %v, %d bytes", other.CPU, other.Memory)
	c, _ := t.of(other)
	refused.Note(c.Error == "denied" && c.CPU == nil && c.Memory == nil, "its container is %+v", c)
	allowed := ways.Way("its own user's process")
	allowed.Note(len(own.Denied) == 0 && own.Read != nil, "denied %v, read %v", own.Denied, own.Read)
	pages := ways.Way("pages")
	for _, format := range formats {
		p := page(m, format)
		told := format == "text" || bytes.Contains(p.Body, []byte("denied"))
		pages.Note(p.Status == http.StatusOK && told && bytes.Contains(p.Body, []byte("/legacy-app")), "%s: %d", format, p.Status)
	}
	return ways.Decide()
}

// odd are the names of the compose file, as the kernel has them and as they must be shown.
var odd = []struct{ name, shown string }{
	{"two words", `two words`},
	{"a) R 1 (b c\n", `a) R 1 (b c\n`},
	{"<i>name</i>", `<i>name</i>`},
	{`"} 9 # {x="`, `"} 9 # {x="`},
	{"\x1b[31m\u202egnp", `\x1b[31m\u202egnp`},
	{"back\\slash\n\t", `back\\slash\n\t`},
	{"\xff\xfe{{.}}", `\xff\xfe{{.}}`},
}

// oddNames looks for each of the burner's odd children, by its PID, in every format.
func oddNames(m *check.M) check.Result {
	b := readBurner(m)
	m.Need(len(b.Named) == len(odd), "the burner has %d children with names, not %d", len(b.Named), len(odd))
	t := lookSince(m, b.Time)
	text, wide, html := string(page(m, "text").Body), string(page(m, "wide").Body), page(m, "html")
	valid := strings.NewReplacer("\xff", "\ufffd", "\xfe", "\ufffd") // JSON has no other bytes
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

	var ways check.Ways
	for i, o := range odd {
		pid := b.Named[i].PID
		r, ok := t.byPID(pid)
		ways.Way("json").Note(ok && r.Name == valid.Replace(o.name) && r.Command == o.shown, "%q is shown as %q, command %q", o.name, r.Name, r.Command)
		line := regexp.MustCompile(fmt.Sprintf(`(?m)^%d +[0-9.]+ +[0-9.]+ +%s$`, pid, regexp.QuoteMeta(o.shown)))
		ways.Way("text").Note(len(line.FindAllString(text, -1)) == 1, "%q is not a line of its own", o.name)
		line = regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\d.* %s$`, pid, regexp.QuoteMeta(o.shown)))
		ways.Way("wide").Note(len(line.FindAllString(wide, -1)) == 1, "%q is not a line of its own", o.name)
		cell := "<tr><td>" + fmt.Sprint(pid) + "</td>"
		_, row, found := strings.Cut(string(html.Body), cell)
		row, _, _ = strings.Cut(row, "\n")
		ways.Way("html").Note(found && strings.HasSuffix(row, "<td>"+escaped.Replace(o.shown)+"</td></tr>"), "%q is shown as %.300q", o.name, row)
		n := m.Counter(pod, adminPort, "topz_sidecar_group_processes", fmt.Sprintf("group=%q", o.shown))
		ways.Way("metrics").Note(n == 1, "%v processes are in the group %q", n, o.shown)
	}
	tag := regexp.MustCompile(`</?[a-zA-Z!][^>]*>`)
	known := regexp.MustCompile(`^</?(!DOCTYPE|html|head|meta|title|link|body|form|input|label|select|option|button|table|thead|tbody|tr|th|td|a|p)\b`)
	for _, markup := range tag.FindAllString(string(html.Body), -1) {
		ways.Way("html").Note(known.MatchString(markup), "markup %q", markup)
	}
	for _, body := range []string{text, wide, string(html.Body)} {
		raw := strings.IndexFunc(body, func(r rune) bool { return r < ' ' && r != '\n' || r == '\u202e' || r == '\ufffd' })
		ways.Way("characters").Note(raw < 0, "character %d is not for the eye", raw)
	}
	policy := html.Header.Get("Content-Security-Policy")
	ways.Way("html").Note(strings.HasPrefix(policy, "default-src 'none'"), "scripts are allowed: %q", policy)
	ways.Way("html").Note(strings.Contains(string(html.Body), `http-equiv="refresh"`), "the page does not load itself again")
	return ways.Decide()
}

// cheap asks more than ten times a second, in every format, and looks at what the sidecar's process took meanwhile. The control is
// the burner, which reads the same processes anew for whoever asks, as often: what a busy machine makes dear for the one, it
// does for the other.
func cheap(m *check.M) check.Result {
	const limit, length, interval = 0.05, 5 * time.Second, 500 * time.Millisecond
	defer calm(m)
	feed(m, `{"cpu":0,"children":0}`)
	took := func() float64 { return m.Metric(pod, adminPort, "process_cpu_seconds_total") }
	looks := func() float64 { return m.Metric(pod, adminPort, "topz_sidecar_looks_total") }
	control, cpu, looked, begun, i := readBurner(m).Burnt, took(), looks(), time.Now(), 0
	held := m.Hold(length, func(m *check.M) error {
		witness(m)
		if i++; i%5 == 0 {
			return m.Get(pod, adminPort, "/metrics").Is(http.StatusOK)
		}
		return page(m, formats[i%5-1]).Is(http.StatusOK)
	})
	cpu, looked, control = took()-cpu, looks()-looked, readBurner(m).Burnt-control
	over := time.Since(begun)
	m.Need(held.Broke != nil || float64(held.Asked) > 10*over.Seconds(), "the machine is too busy: %d answers in %v", held.Asked, over)
	share, most := cpu/over.Seconds(), over.Seconds()/interval.Seconds()+2
	few := max(limit, control/over.Seconds())
	return check.Decide(held.Broke == nil && share <= few && looked <= most, "%.1f %% of a processor, %.0f looks, and it %v", 100*share, looked, held).
		Want("%.1f %%, %.0f looks, every page", 100*few, most).Of(held.Asked).
		Because("the control took %.1f %%", 100*control/over.Seconds())
}
