package cache

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// originSaved loads some words at the door, that are fresh for two seconds, and counts what comes to the service.
func originSaved(m *check.M) check.Result {
	const words, fresh, length = 4, 2 * time.Second, 4 * time.Second
	end := begin(m)
	defer end()
	tell(m, trouble{Header: keep(fmt.Sprintf("max-age=%d", int(fresh.Seconds())))})
	of := m.Fresh()
	var urls []string
	for _, w := range vocabulary(m, words) {
		urls = append(urls, doorURL+"/"+w+"?of="+of)
	}
	more := func(flags ...string) []string { return append(append([]string{"-insecure"}, flags...), urls[1:]...) }
	before, begun := fetched(m), time.Now()
	t := m.Beside(length/2, []check.Flow{
		{Name: "kept, HTTP/1.1", Rate: 60, URL: urls[0], Args: more("-http1")},
		{Name: "kept, HTTP/2", Rate: 60, URL: urls[0], Args: more("-http2")},
		{Name: "anew", Rate: 15, URL: urls[0], Args: more("-keepalive=false")},
		{Name: "control", Rate: 20, URL: controlURL + "/cat", Control: true},
	}, func() {})
	took, asked := time.Since(begun), fetched(m)-before
	// A Date has no fractions: an answer may be a second older than it says.
	most := len(caches) * words * int(took/(fresh-time.Second)+2)
	m.Need(t.Requests() > 3*most, "%d requests in %v are too few to tell: the machine is too busy", t.Requests(), took)
	ok := t.Failed() == 0 && asked > 0 && asked <= most
	return t.Fair(check.Decide(ok, "of %d requests in %.1f s %d came to the service, one of %.0f; %d failed",
		t.Requests(), took.Seconds(), asked, float64(t.Requests())/max(1, float64(asked)), t.Failed()).
		Want("at most %d: each word from each cache by the clock; none", most).Of(t.Requests()))
}

// tierLost kills a replica of each tier at once, and brings them back. A user repeats a GET that broke off on a kept
// connection, as browsers and Go do (RFC 9110, 9.2.2); what is asked on a new connection while they are away must be
// well at once.
func tierLost(m *check.M) check.Result {
	end := begin(m)
	defer end()
	const always = "/-/license"
	tell(m, trouble{Path: always, Header: map[string]string{"Cache-Control": "no-store"}}) // so that requests reach the third tier, too
	list := vocabulary(m, 2)
	var away check.Tally
	back := check.Never
	t := m.Beside(lead, []check.Flow{
		{Name: "kept", Rate: 50, URL: doorURL + "/" + list[0], Args: []string{"-insecure", "-http1"}},
		{Name: "not stored", Rate: 20, URL: doorURL + always + "?" + m.Fresh(), Args: []string{"-insecure", "-http1"}},
		{Name: "control", Rate: 30, URL: controlURL + "/cat", Control: true},
	}, func() {
		dead := []string{deadTLS, first, deadService}
		gone := make([]*check.Fault, len(dead))
		for i, s := range dead {
			gone[i] = m.Kill(s)
		}
		u := newUser(m, false)
		u.http.Transport.(*http.Transport).DisableKeepAlives = true
		i := 0
		m.Hold(2*time.Second, func(m *check.M) error {
			i++
			p, err := u.get(m, fmt.Sprintf("/%s?of=%s-%d", list[i%2], list[0], i))
			away.Note(err == nil && p.Status == http.StatusOK && !strings.Contains(p.Header.Get("Cache-Status"), first),
				"%d %v, %s, by %s", p.Status, err, p.Header.Get("Cache-Status"), p.Header.Get("X-Served-By"))
			return nil
		})
		for _, f := range gone {
			m.Heal(f)
		}
		back, _ = m.Until(patience, func(m *check.M) error {
			p, err := u.get(m, "/"+list[0])
			if err != nil {
				return err
			}
			if s := p.Header.Get("Cache-Status"); !strings.Contains(s, first) {
				return fmt.Errorf("%d of %s", p.Status, s)
			}
			return nil
		})
	})
	ok := t.Failed() == 0 && away.Whole() && back != check.Never
	return t.Fair(check.Decide(ok, "%d of %d requests failed; %v new visits meanwhile were well; the cache served again after %v",
		t.Failed(), t.Requests(), &away, back).Want("none; all; at all").Of(t.Requests()+away.All()).Because("%s", away.Odd()))
}

// bounded asks for words often, and then for more lists than the cache can hold, each once, and for one word in very
// many forms.
func bounded(m *check.M) check.Result {
	const hot, often, lists, variants, least = 30, 8, 500, 300, 0.8
	end := begin(m)
	defer end()
	tell(m, trouble{Header: keep("max-age=600")})
	of := m.Fresh()
	words := vocabulary(m, hot)
	get := func(m *check.M, target string, headers ...string) check.Page {
		p := m.Get(first, webPort, target, headers...)
		m.Need(p.Status == http.StatusOK, "%s: %d", target, p.Status)
		return p
	}
	wanted := func(m *check.M, i int) string { return "/" + words[i%hot] + "?of=" + of }
	m.Each(hot*often, 4, func(m *check.M, i int) { get(m, wanted(m, i)) })
	evicted := m.Metric(first, adminPort, "http_cache_evicted_total")
	stored, resident := 0.0, 0.0
	look := func(m *check.M) {
		stored = max(stored, m.Metric(first, adminPort, "http_cache_stored_bytes"))
		resident = max(resident, m.Metric(first, adminPort, "process_resident_memory_bytes"))
	}
	sent := make([]int, lists)
	for part := range 5 {
		m.Each(lists/5, 4, func(m *check.M, i int) {
			n := part*lists/5 + i
			sent[n] = len(get(m, fmt.Sprintf("/?prefix=%c&limit=1000&of=%s-%d", "abcdefmprst"[n%11], of, n)).Body)
			if i%10 == 0 {
				get(m, wanted(m, n/10))
			}
		})
		look(m)
	}
	total := 0
	for _, n := range sent {
		total += n
	}
	m.Need(total > size*5/4, "%d lists have %d bytes only", lists, total)
	m.Each(variants, 4, func(m *check.M, i int) {
		get(m, "/?prefix=s&limit=1000&of="+of, "Accept", fmt.Sprintf("application/json, text/x-%d;q=0.1", i))
	})
	look(m)
	evicted = m.Metric(first, adminPort, "http_cache_evicted_total") - evicted
	before := fetched(m)
	for i := range hot {
		get(m, wanted(m, i))
	}
	kept := float64(hot-(fetched(m)-before)) / hot
	// The store makes room behind what comes in, so it may be over by what comes in at once.
	const over = 256 << 10
	ok := stored <= size+over && resident < memory && evicted > 0 && kept >= least
	return check.Decide(ok, "of %.1f MB that came at most %.1f MB were stored, %.0f MB resident, %.0f made room; then %.0f %% of %d hot words were still there",
		float64(total)/1e6, stored/1e6, resident/1e6, evicted, 100*kept, hot).
		Want("at most %.1f MB, %.0f MB; some; %.0f %%", float64(size+over)/1e6, float64(memory)/1e6, 100*least).Of(lists + variants + hot)
}
