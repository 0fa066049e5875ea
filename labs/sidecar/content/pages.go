package content

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"distlab/lab/check"
)

// fresh writes new data and waits for it on the front page; then it looks at the page's age for a while. Ages are
// differences of the pod's clocks alone: the page's time and the server's Date, which is in whole seconds.
func fresh(m *check.M) check.Result {
	const limit, hold = period + time.Second, 5 * period
	m.Await(10*time.Second, "a generation", func(m *check.M) error { return get(m, "/").Is(http.StatusOK) })
	headline := m.Fresh()
	before := readStatus(m).Generation
	write(m, data(headline, 100))
	begun := time.Now()
	took, _ := m.Until(3*limit+5*time.Second, func(m *check.M) error {
		p := get(m, "/")
		if !bytes.Contains(p.Body, []byte(headline)) {
			return fmt.Errorf("status %d, without the headline", p.Status)
		}
		return nil
	})
	seen := map[string]bool{}
	held := m.Hold(hold, func(m *check.M) error {
		p := get(m, "/")
		generation, at, err := made(p)
		if err != nil {
			return err
		}
		seen[generation] = true
		if age := date(p).Sub(at); age > 2*limit {
			return fmt.Errorf("a page is %v old", age)
		}
		return nil
	})
	after := readStatus(m).Generation
	over := time.Since(begun)
	least := int(held.For/period) - 2
	m.Need(float64(after-before) >= 0.6*over.Seconds()/period.Seconds() || held.Broke != nil || took == check.Never,
		"the generator got to %d generations in %v: the machine is too busy", after-before, over)
	return check.Decide(took.Within(limit) && held.Broke == nil && len(seen) >= least, "served after %v; %d generations served, and it %v",
		took, len(seen), held).Want("within %v, %d generations, none older than %v", limit, least, 2*limit).Of(held.Asked)
}

// whole reads pages of several lengths all the time, packed and not, while generations follow one another as fast as they can.
// What each answer was must be what that page was at one time, to the last byte.
func whole(m *check.M) check.Result {
	const readers, generations, least = 4, 7, 400
	write(m, data(m.Fresh(), 6000))
	check.Must(generate(m).Is(http.StatusOK))
	paths := []string{"/", "/catalog.html", "/about.html"}
	type answer struct{ path, way, sum, odd string }
	answers := make([][]answer, readers)
	var asked atomic.Int64
	done := make(chan struct{})
	before := readStatus(m).Generation
	reader := func(i int) func(*check.M) {
		return func(m *check.M) {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				path := paths[(i+n)%len(paths)]
				packed := n%2 == 0
				a := answer{path: path, way: map[bool]string{false: path, true: path + " packed"}[packed]}
				p, err := try(m, path, packed)
				length := p.Header.Get("Content-Length")
				switch {
				case err != nil:
					a.odd = err.Error()
				case p.Status != http.StatusOK:
					a.odd = fmt.Sprintf("status %d", p.Status)
				case length != strconv.Itoa(len(p.Body)) && p.Header.Get("Content-Encoding") == "":
					a.odd = fmt.Sprintf("%d bytes, and Content-Length %s", len(p.Body), length)
				default:
					a.sum = digest(p)
				}
				answers[i] = append(answers[i], a)
				asked.Add(1)
			}
		}
	}
	writer := func(m *check.M) {
		defer close(done)
		for readStatus(m).Generation < before+generations || asked.Load() < least {
			check.Must(generate(m).Is(http.StatusOK))
		}
	}
	parts := []func(*check.M){writer}
	for i := range readers {
		parts = append(parts, reader(i))
	}
	m.Together(parts...)

	known := pages(m)
	names := map[string]string{"/": "index.html", "/catalog.html": "catalog.html", "/about.html": "about.html"}
	var ways check.Ways
	contents := map[string]bool{}
	for _, list := range answers {
		for _, a := range list {
			ok := a.odd == "" && known[names[a.path]][a.sum]
			ways.Way(a.way).Note(ok, "never was so: %s %.12s", a.odd, a.sum)
			contents[a.sum] = true
		}
	}
	m.Need(len(contents) >= 6, "only %d contents were seen: too few to tell", len(contents))
	return ways.Decide()
}

// try asks for a page and has what goes wrong as an error: a connection that is cut is what this claim is about. A packed page
// is unpacked.
func try(m *check.M, path string, packed bool) (p check.Page, err error) {
	encoding := "identity"
	if packed {
		encoding = "gzip"
	}
	held := m.Hold(0, func(m *check.M) error { p = get(m, path, "Accept-Encoding", encoding); return nil })
	if held.Broke != nil || p.Header.Get("Content-Encoding") != "gzip" {
		return p, held.Broke
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(p.Body))
	if err == nil {
		p.Body, err = io.ReadAll(unpacked)
	}
	return p, err
}

// cached asks again with the ETag that it got, for a page that stays and for one that changes, over several generations.
func cached(m *check.M) check.Result {
	const generations = 4
	var ways check.Ways
	stays, changes := ways.Way("a page that stays"), ways.Way("a page that changes")
	first := get(m, "/about.html")
	check.Must(first.Is(http.StatusOK))
	tag, since := first.Header.Get("ETag"), first.Header.Get("Last-Modified")
	for range generations {
		page := get(m, "/catalog.html")
		old := page.Header.Get("ETag")
		now := get(m, "/catalog.html", "If-None-Match", old)
		// Between the two a generation may have come: then it is the new page.
		changes.Note(now.Status == http.StatusNotModified && len(now.Body) == 0 || now.Status == http.StatusOK && now.Header.Get("ETag") != old,
			"unchanged: %d, ETag %s after %s", now.Status, now.Header.Get("ETag"), old)

		check.Must(generate(m).Is(http.StatusOK))
		now = get(m, "/catalog.html", "If-None-Match", old)
		changes.Note(now.Status == http.StatusOK && now.Header.Get("ETag") != old && digest(now) != digest(page),
			"changed: %d, ETag %s after %s", now.Status, now.Header.Get("ETag"), old)

		now = get(m, "/about.html", "If-None-Match", tag)
		stays.Note(now.Status == http.StatusNotModified && len(now.Body) == 0, "by ETag: %d", now.Status)
		now = get(m, "/about.html", "If-Modified-Since", since)
		stays.Note(now.Status == http.StatusNotModified, "by date: %d", now.Status)
		now = get(m, "/about.html", "If-None-Match", `"other"`)
		stays.Note(now.Status == http.StatusOK && digest(now) == digest(first), "another's ETag: %d", now.Status)
	}
	return ways.Decide()
}

// etagTrue has generations made as fast as they come and looks at what each ETag stood for. The front page has one length in
// all of them.
func etagTrue(m *check.M) check.Result {
	const rounds = 6
	write(m, data(m.Fresh(), 10))
	check.Must(generate(m).Is(http.StatusOK))
	meant := map[string]string{}
	lengths, contents := map[int]bool{}, map[string]bool{}
	var tags check.Tally
	for range rounds {
		check.Must(generate(m).Is(http.StatusOK))
		p := get(m, "/")
		check.Must(p.Is(http.StatusOK))
		tag, sum := p.Header.Get("ETag"), digest(p)
		was, known := meant[tag]
		tags.Note(tag != "" && (!known || was == sum), "ETag %s is of %.12s and of %.12s", tag, was, sum)
		meant[tag] = sum
		lengths[len(p.Body)], contents[sum] = true, true
	}
	m.Need(len(lengths) == 1 && len(contents) >= 2, "%d contents of %d lengths: too few to tell", len(contents), len(lengths))
	return check.Decide(tags.Whole(), "%v answers, %d contents of one length", &tags, len(contents)).Want("no ETag of two contents").
		Of(tags.All()).Because("%s", tags.Odd())
}
