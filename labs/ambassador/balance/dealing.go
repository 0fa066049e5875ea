package balance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
	"distlab/lab/stats"
)

// spread asks for a page many times in each way and counts whose it was, by its title. The probe comes from one address
// alone: who spreads by address would put all on one shop.
func spread(m *check.M) check.Result {
	well(m)
	const n = 300
	ways := map[string][]string{"kept": nil, "anew": {"-header", "Connection: close"}}
	alpha := stats.AlphaOf(len(ways))
	least := 1.0
	var said []string
	for _, way := range []string{"kept", "anew"} {
		urls := slices.Repeat([]string{door + "/about"}, n/3) // as many as a probe takes
		counts := make([]int, len(shops))
		for range 3 {
			for _, a := range m.HTTPEach(check.Outside, ways[way], urls...) {
				m.Need(a.Status == http.StatusOK, "%s: %d %s", way, a.Status, a.Error)
				i := slices.Index(shops, shop(check.Page{Body: a.Body}))
				m.Need(i >= 0, "a page of none of the shops: %.100q", a.Body)
				counts[i]++
			}
		}
		_, p, err := stats.ChiSquare(counts, []float64{1, 1, 1})
		check.Must(err)
		least = min(least, p)
		said = append(said, fmt.Sprintf("%s: %v", way, counts))
	}
	return check.Decide(least >= alpha, "of %d pages each %s, least p = %.2g", n, strings.Join(said, ", "), least).
		Want("a third each, p ≥ %.2g", alpha).Of(len(ways) * n)
}

// leastLoaded loads a page that the slow shop takes a quarter of a second for. Its fair share under equal use of what each can
// do is small; dealt in turns it would be a third, and every third client would wait.
func leastLoaded(m *check.M) check.Result {
	const most, patient = 0.15, 200 * time.Millisecond
	well(m)
	before := answered(m)
	url := "/slow"
	t := m.Beside(3*time.Second, []check.Flow{
		{Name: "the page", Rate: 60, URL: door + url},
		{Name: "control", Rate: 20, URL: control + url, Control: true},
	}, func() {})
	after := answered(m)
	total, slowly := 0.0, after[slow]-before[slow]
	for i := range shops {
		total += after[i] - before[i]
	}
	m.Need(total > 0, "nothing was answered")
	share := slowly / total
	p90 := time.Duration(t.Answers[0].Latency.P90 * float64(time.Second))
	ok := slowly > 0 && share <= most && p90 <= patient && t.Failed() == 0
	return t.Fair(check.Decide(ok, "the slow one of three had %.0f %% of %.0f requests; p90 %d ms, p99 %d ms; %d failed",
		100*share, total, p90.Milliseconds(), t.P99().Milliseconds(), t.Failed()).
		Want("some, at most %.0f %%; p90 at most %v; none", 100*most, patient).Of(t.Requests()))
}

// answered is what the balancer has had answered by each shop.
func answered(m *check.M) []float64 {
	counts := make([]float64, len(shops))
	for i, name := range shops {
		counts[i] = m.Counter(balancer, adminPort, "balancer_requests_total", fmt.Sprintf("replica=%q", address(m, name)))
	}
	return counts
}

// budget has every shop answer 503, and counts at the shops what came of the requests at the door. That retries are made at
// all is seen, too: a balancer without any would pass else.
func budget(m *check.M) check.Result {
	const requests, share, perSecond = 600, 0.2, 10
	well(m)
	before := failures(m)
	begun := time.Now()
	m.Each(requests, 8, func(m *check.M, _ int) {
		p := m.Get(balancer, webPort, "/status/503")
		m.Need(p.Status == http.StatusServiceUnavailable, "answered %d", p.Status)
	})
	took := time.Since(begun)
	attempts := failures(m) - before
	// The bonus of each second, what ten seconds before have left of it, and what a few requests before have earned.
	most := share*requests + perSecond*(took.Seconds()+10) + 20
	retries := attempts - requests
	return check.Decide(retries > 0 && retries <= most, "%d requests were %.0f attempts: %.0f more in %.1f s", requests, attempts, retries, took.Seconds()).
		Want("some, at most %.0f more: a fifth, %d a second, and what was left", most, perSecond).Of(requests)
}

// failures is how many 503 the shops have answered.
func failures(m *check.M) (n float64) {
	for _, name := range shops {
		n += m.Counter(name, adminPort, "legacy_app_requests_total", `code="503"`)
	}
	return n
}
