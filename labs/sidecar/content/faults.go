package content

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// isolated sends the server requests that cost it processor time, a packed page of some 400 KB each, at rest, while the
// generator burns, and at rest again; the neighbour, which the generator cannot reach, gets the same.
func isolated(m *check.M) check.Result {
	const (
		rate  = 10
		phase = 4 * time.Second
		// times is by how much the p99 may grow: while the generator has its part of the processor, the server waits for it.
		times, least = 4, 100 * time.Millisecond
	)
	write(m, data(m.Fresh(), 4000))
	check.Must(generate(m).Is(http.StatusOK))
	packed := []string{"-header", "Accept-Encoding: gzip", "-timeout", "20s"}
	flows := []check.Flow{
		{Name: "nginx", From: check.Outside, Rate: rate, Args: packed, URL: fmt.Sprintf("http://%s:%d/catalog.html", pod, httpPort)},
		{Name: "neighbour", From: check.Outside, Rate: rate, Args: packed, URL: fmt.Sprintf("http://%s:%d/catalog.html", neighbour, httpPort), Control: true},
	}
	var before, after status
	var stood, took float64
	rest := m.Beside(phase/2, flows, func() {})
	busy := m.Beside(0, flows, func() {
		ask := []byte(fmt.Sprintf(`{"threads": 8, "for": "%v"}`, 60*time.Second))
		check.Must(m.Do(http.MethodPut, pod, adminPort, "/burn", ask).Is(http.StatusNoContent))
		defer m.Do(http.MethodDelete, pod, adminPort, "/burn", nil)
		before, stood = readStatus(m), throttled(m, server)
		begun := time.Now()
		m.Await(3*phase, "the phase's end", func(*check.M) error {
			if time.Since(begun) < phase {
				return fmt.Errorf("%v", time.Since(begun))
			}
			return nil
		})
		after, stood = readStatus(m), throttled(m, server)-stood
		took = time.Since(begun).Seconds()
	})
	m.Need(before.Cgroup != nil && after.Cgroup != nil, "the generator cannot read its control group")
	burnt := after.Cgroup.Seconds - before.Cgroup.Seconds
	m.Need(burnt >= 0.5*quota*took, "the generator got %.2f s of a processor in %.1f s: it burnt too little to harm anybody", burnt, took)
	calm, hot := rest.P99(), busy.P99()
	limit := max(times*calm, least)
	control := time.Duration(busy.Answers[1].Latency.P99 * float64(time.Second))
	res := check.Decide(hot <= limit && busy.Failed() == 0, "p99 %d ms at rest, %d ms while %.2f processors burnt, %d requests failed",
		calm.Milliseconds(), hot.Milliseconds(), burnt/took, busy.Failed()).Want("%d ms", limit.Milliseconds()).Of(busy.Requests()).
		Because("control groups of version %d: the generator stood still for %.2f s in %d periods, nginx for %.2f s", after.Cgroup.Version,
			after.Cgroup.Throttled-before.Cgroup.Throttled, after.Cgroup.Periods-before.Cgroup.Periods, stood)
	if res.Verdict == check.Fail && control > limit {
		m.Unknown("the neighbour's p99 was %d ms: the machine is too busy (%s)", control.Milliseconds(), res.Measured)
	}
	return busy.Fair(res)
}

// generatorDown kills the generator in the middle of its work and looks at the pages for several periods. They are served, each
// as it was; their age is told by themselves and by Last-Modified. Then it is started.
func generatorDown(m *check.M) check.Result {
	const hold, limit = 4 * period, 10 * time.Second
	write(m, data(m.Fresh(), 6000))
	check.Must(generate(m).Is(http.StatusOK))
	gone := m.Kill(generator)
	first := map[string]check.Page{}
	for _, path := range []string{"/", "/catalog.html", "/about.html"} {
		first[path] = get(m, path)
	}
	generation, at, err := made(first["/"])
	modified, _ := http.ParseTime(first["/"].Header.Get("Last-Modified"))
	var ways check.Ways
	end := "<p>End of generation " // and then its number
	catalog := first["/catalog.html"].Body
	ways.Way("whole").Note(err == nil && bytes.Contains(catalog, []byte(end)), "front page: %v; the catalog ends with %.60q", err, catalog[max(0, len(catalog)-60):])
	held := m.Hold(hold, func(m *check.M) error {
		for path, was := range first {
			p := get(m, path)
			if err := p.Is(http.StatusOK); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if digest(p) != digest(was) || p.Header.Get("Last-Modified") != was.Header.Get("Last-Modified") {
				return fmt.Errorf("%s has changed", path)
			}
		}
		return nil
	})
	ways.Way("served on").Note(held.Broke == nil, "%v", held)
	old := get(m, "/")
	age := date(old).Sub(modified)
	// Both clocks have whole seconds, and the page's time is that of the beginning of its generation.
	ways.Way("age").Note(age >= hold-2*time.Second && modified.Sub(at) < 5*time.Second && at.Sub(modified) < 2*time.Second,
		"made at %v, modified at %v, and %v old", at, modified, age)
	m.Heal(gone)
	back, last := m.Until(2*limit, func(m *check.M) error {
		now, _, err := made(get(m, "/"))
		if err == nil && now == generation {
			err = fmt.Errorf("still generation %s", now)
		}
		return err
	})
	ways.Way("new ones after").Note(back.Within(limit), "after %v: %v", back, last)
	leftover := m.Get(pod, httpPort, "/.published.json")
	ways.Way("hidden").Note(leftover.Status == http.StatusNotFound, "the generator's own file is served: %d", leftover.Status)
	return ways.Decide()
}

// generatorFull gives the generator data with which a generation cannot be made: pages that do not fit on the volume, text that
// is no JSON, data that a template has no use for. Each time the pages of before are served, as they were, and the reason is
// in /status, /readyz and the metrics. With the old data it goes on.
func generatorFull(m *check.M) check.Result {
	const limit = 5 * time.Second
	good := data(m.Fresh(), 3000)
	write(m, good)
	check.Must(generate(m).Is(http.StatusOK))
	failures := []struct{ name, data, reason string }{
		{"volume full", data("too much", 40000), "no space left on device"},
		{"too large", data("far too much", 900000), "MAX_BYTES"},
		{"half a JSON", `{"headline": "ha`, "unexpected EOF"},
		{"data without rows", `{"headline": "none"}`, "rows"},
	}
	var ways check.Ways
	for _, f := range failures {
		way := ways.Way(f.name)
		count := func() float64 {
			return m.Metric(pod, adminPort, "content_generator_generations_total", `result="failed"`)
		}
		counted := count()
		fault := write(m, f.data)
		m.Await(20*time.Second, "a failed generation", func(m *check.M) error {
			if st := readStatus(m); st.Failed == 0 {
				return fmt.Errorf("generation %d", st.Generation)
			}
			return nil
		})
		first := map[string]check.Page{}
		for _, path := range []string{"/", "/catalog.html", "/about.html"} {
			first[path] = get(m, path)
		}
		failed := readStatus(m).Failed
		held := m.Hold(2*period, func(m *check.M) error {
			for path, was := range first {
				p := get(m, path)
				if err := p.Is(http.StatusOK); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				if digest(p) != digest(was) {
					return fmt.Errorf("%s has changed", path)
				}
			}
			return nil
		})
		way.Note(held.Broke == nil, "%v", held)
		generation, _, err := made(first["/"])
		way.Note(err == nil && bytes.Contains(first["/catalog.html"].Body, []byte("End of generation "+generation)),
			"the front page is of generation %s, and the catalog of another (%v)", generation, err)
		st := readStatus(m)
		way.Note(st.Failed >= failed && strings.Contains(st.Reason, f.reason), "%d failed, because %q", st.Failed, st.Reason)
		ready := m.Get(pod, adminPort, "/readyz")
		way.Note(ready.Status == http.StatusServiceUnavailable && strings.Contains(string(ready.Body), f.reason), "/readyz %d %q", ready.Status, ready.Body)
		way.Note(count() > counted, "no failure was counted")
		m.Heal(fault)
		back, last := m.Until(2*limit, func(m *check.M) error {
			if err := m.Get(pod, adminPort, "/readyz").Is(http.StatusOK); err != nil {
				return err
			}
			now, _, err := made(get(m, "/"))
			if err == nil && now == generation {
				err = fmt.Errorf("still generation %s", now)
			}
			return err
		})
		way.Note(back.Within(limit), "with good data again after %v: %v", back, last)
	}
	return ways.Decide()
}
