package topz

import (
	"fmt"
	"math"
	"time"

	"distlab/lab/check"
)

// steps are the burner's appetites: an average over its life fits neither.
var steps = []float64{0.02, 0.25}

// cpuRight compares each look's share with what the burner took in the very time between that look and the one before it.
func cpuRight(m *check.M) check.Result {
	const looks = 5 // at each step
	defer calm(m)
	var windows check.Tally
	sums := ""
	right := true
	var rates []float64
	for _, cores := range steps {
		since := feed(m, fmt.Sprintf(`{"cpu":%v,"children":0}`, cores)).Time
		pid := readBurner(m).PID
		last := burnerRow(m, lookSince(m, since), pid)
		begun := last.At
		var shown, took float64
		for range looks {
			r := burnerRow(m, lookSince(m, last.At), pid)
			m.Need(r.CPU != nil, "a process of two looks has no share")
			over := r.At.Sub(last.At).Seconds()
			was := burnt(m, last.At, r.At)
			says := *r.CPU / 100 * over
			windows.Note(math.Abs(says-was) <= 0.1*was+0.06, "%.2f s: shown %.3f s, taken %.3f s", over, says, was)
			shown, took = shown+says, took+was
			last = r
		}
		rates = append(rates, took/last.At.Sub(begun).Seconds())
		// The kernel shows time in hundredths of a second, of user and system apart.
		right = right && math.Abs(shown-took) <= 0.03*took+0.03
		sums += fmt.Sprintf("%.3f of %.3f s, ", shown, took)
	}
	m.Need(rates[1] > 2*rates[0], "the burner got %.2f and %.2f of a processor, and wanted %v", rates[0], rates[1], steps)
	return check.Decide(right && windows.Whole(), "%s%v looks", sums, &windows).Want("within 3 %% and 0.03 s, each look within 10 %% and 0.06 s").
		Of(windows.All()).Because("%s", windows.Odd())
}

func burnerRow(m *check.M, t table, pid int) row {
	r, ok := t.byPID(pid)
	m.Need(ok && r.Name == burner, "the burner, process %d, is not shown", pid)
	return r
}

// sumRight lets some hundred children begin and end and compares the group's total with what the kernel charged the burner
// for itself and for them, from one calm to the next. Its control group is a witness that nothing counts twice.
func sumRight(m *check.M) check.Result {
	defer calm(m)
	const children = 300
	before, counted := settled(m)
	begun := feed(m, `{"cpu":0.1,"children":100}`)
	m.Await(45*time.Second, "children", func(m *check.M) error {
		if n := readBurner(m).Started - begun.Started; n < children {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	after, counts := settled(m)
	took := after.Burnt + after.ByThem - before.Burnt - before.ByThem
	ended := after.ByThem - before.ByThem
	shown := counts - counted
	m.Need(ended > 0.3*took, "the children took %.2f s of %.2f s: too little to tell", ended, took)
	m.Need(before.Cgroup != nil && after.Cgroup != nil, "the burner cannot read its control group")
	group := after.Cgroup.CPU - before.Cgroup.CPU
	return check.Decide(math.Abs(shown-took) <= 0.05*took+0.05 && shown <= group*1.05+0.05, "%.2f s shown, %.2f s taken", shown, took).
		Want("within 5 %% and 0.05 s, and no more than the control group has").Of(after.Started-before.Started).
		Because("%d children ended and took %.2f s; the control group has %.2f s, with the health checks", after.Started-before.Started, ended, group)
}

// settled makes the burner calm, waits until the sidecar has looked twice since, and is what both say then.
func settled(m *check.M) (burning, float64) {
	b := feed(m, `{"cpu":0,"children":0}`)
	m.Await(20*time.Second, "the last child's end", func(m *check.M) error {
		now := readBurner(m)
		defer func() { b = now }()
		if now.Started != b.Started || now.ByThem != b.ByThem {
			return fmt.Errorf("%d have ended", now.Started)
		}
		return nil
	})
	t := lookSince(m, b.Time)
	b = readBurner(m)
	lookSince(m, t.To)
	return b, m.Counter(pod, adminPort, "topz_sidecar_group_cpu_seconds_total", `group="burner"`)
}

// memoryRight has the burner hold more, less and more again. What it holds beside is the same each time, so the differences
// are known; so are those of its container, as the kernel counts them.
func memoryRight(m *check.M) check.Result {
	defer calm(m)
	const mib = 1 << 20
	sizes := []int64{16, 80, 32, 112, 4}
	pid := readBurner(m).PID
	var shown, group []int64
	for _, size := range sizes {
		t := lookSince(m, feed(m, fmt.Sprintf(`{"memory":"%dMiB"}`, size)).Time)
		r := burnerRow(m, t, pid)
		c, ok := t.of(r)
		m.Need(ok && c.Memory != nil, "the burner's container is not known: %s", c.Error)
		shown, group = append(shown, r.Memory), append(group, c.Memory.Working)
	}
	var rows, groups check.Tally
	for i := 1; i < len(sizes); i++ {
		want := (sizes[i] - sizes[i-1]) * mib
		note := func(t *check.Tally, got int64) {
			off := math.Abs(float64(got - want))
			t.Note(off <= 0.03*math.Abs(float64(want))+2*mib, "from %d to %d MiB: %.1f MiB", sizes[i-1], sizes[i], float64(got)/mib)
		}
		note(&rows, shown[i]-shown[i-1])
		note(&groups, group[i]-group[i-1])
	}
	least := shown[0] >= sizes[0]*mib && shown[0] < (sizes[0]+40)*mib
	return check.Decide(rows.Whole() && groups.Whole() && least, "%v changes of the process, %v of the container, %.1f MiB with 16 held",
		&rows, &groups, float64(shown[0])/mib).Want("all within 3 %% and 2 MiB, and 16 to 56 MiB").Of(rows.All()).
		Because("%s\n%s", rows.Odd(), groups.Odd())
}

// limits compares the limits with those of the compose file, and what the kernel has counted with the burner's own readings
// of it just before a look and just after: each number of the look must lie between. While the burner takes less than it may
// it hardly stands still; while it wants more it does.
func limits(m *check.M) check.Result {
	defer calm(m)
	feed(m, `{"cpu":0.05,"children":0}`)
	var between check.Tally
	first := bracket(m, &between)
	rest := bracket(m, &between)
	feed(m, `{"cpu":1.2}`)
	begun := bracket(m, &between)
	const patience = 30 * time.Second
	// The limit matters once the burner gets as much as that: on a busy machine this takes a while.
	last := begun
	throttled := func() float64 { return last.CPU.ThrottledSeconds - begun.CPU.ThrottledSeconds }
	for i, at := 0, time.Now(); i < 3 || throttled() <= 0.1 && between.Whole() && time.Since(at) < patience; i++ {
		last = bracket(m, &between)
	}
	right := last.CPU.Limit != nil && *last.CPU.Limit == burnerCores && last.Memory.Limit != nil && *last.Memory.Limit == burnerBytes
	resting, wanting := rest.CPU.ThrottledSeconds-first.CPU.ThrottledSeconds, throttled()
	m.Need(wanting > 0.1 || !between.Whole(), "the machine gave the burner too little for its limit to matter")
	return check.Decide(right && between.Whole() && resting < wanting, "limits right: %t, %v numbers right, stood still %.2f s at rest and %.2f s above its limit",
		right, &between, resting, wanting).Want("limits of 0.4 processors and 192 MiB; all; more above the limit").Of(between.All()).
		Because("control groups of version %s\n%s", last.Cgroup, between.Odd())
}

// bracket is the burner's container in a look, between two readings of its own.
func bracket(m *check.M, t *check.Tally) container {
	before := readBurner(m)
	shown := lookSince(m, before.Time)
	after := readBurner(m)
	c, ok := shown.of(burnerRow(m, shown, before.PID))
	m.Need(ok && c.CPU != nil && c.Memory != nil, "the burner's container is not known: %s", c.Error)
	m.Need(before.Cgroup != nil && after.Cgroup != nil, "the burner cannot read its control group")
	const rounding = 1e-3
	note := func(what string, a, x, b float64) {
		t.Note(a-rounding <= x && x <= b+rounding, "%s %.3f is not between %.3f and %.3f", what, x, a, b)
	}
	note("cpu", before.Cgroup.CPU, c.CPU.Seconds, after.Cgroup.CPU)
	note("throttled", before.Cgroup.Throttled, c.CPU.ThrottledSeconds, after.Cgroup.Throttled)
	return c
}
