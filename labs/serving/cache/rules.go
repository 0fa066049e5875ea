package cache

import (
	"fmt"
	"net/http"
	"time"

	"distlab/lab/check"
)

// in is a date so many seconds from now.
func in(seconds int) string {
	return time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)
}

// rfc9111 goes through a table of what the service says, and asks twice. Whether the second answer was the first's is
// counted at the service.
func rfc9111(m *check.M) check.Result {
	end := begin(m)
	defer end()
	rows := []struct {
		name    string
		header  map[string]string
		ask     []string
		fetches int // of two requests
	}{
		{"max-age", map[string]string{"Cache-Control": "max-age=60"}, nil, 1},
		{"max-age=0", map[string]string{"Cache-Control": "max-age=0"}, nil, 2},
		{"s-maxage before max-age", map[string]string{"Cache-Control": "max-age=0, s-maxage=60"}, nil, 1},
		{"s-maxage=0", map[string]string{"Cache-Control": "max-age=60, s-maxage=0"}, nil, 2},
		{"capitals", map[string]string{"Cache-Control": "MAX-AGE=60"}, nil, 1},
		{"quoted", map[string]string{"Cache-Control": `max-age="60"`}, nil, 1},
		{"no number", map[string]string{"Cache-Control": "max-age=soon"}, nil, 2},
		{"two values", map[string]string{"Cache-Control": "max-age=60, max-age=0"}, nil, 2},
		{"Expires", map[string]string{"Cache-Control": "public", "Expires": in(60)}, nil, 1},
		{"Expires: 0", map[string]string{"Cache-Control": "public", "Expires": "0"}, nil, 2},
		{"Expires in the past", map[string]string{"Cache-Control": "public", "Expires": in(-60)}, nil, 2},
		{"Age 50 of 60", map[string]string{"Cache-Control": "max-age=60", "Age": "50"}, nil, 1},
		{"Age 61 of 60", map[string]string{"Cache-Control": "max-age=60", "Age": "61"}, nil, 2},
		{"an old Date", map[string]string{"Cache-Control": "max-age=60", "Date": in(-100)}, nil, 2},
		{"no-store", map[string]string{"Cache-Control": "no-store, max-age=60"}, nil, 2},
		{"private", map[string]string{"Cache-Control": "private, max-age=60"}, nil, 2},
		{"no-cache", map[string]string{"Cache-Control": "no-cache, max-age=60"}, nil, 2},
		{"Vary: *", map[string]string{"Cache-Control": "max-age=60", "Vary": "*"}, nil, 2},
		{"password", map[string]string{"Cache-Control": "max-age=60"}, []string{"Authorization", "Basic eA=="}, 2},
		{"password, public", map[string]string{"Cache-Control": "public, max-age=60"}, []string{"Authorization", "Basic eA=="}, 1},
		{"password, s-maxage", map[string]string{"Cache-Control": "s-maxage=60"}, []string{"Authorization", "Basic eA=="}, 1},
		{"CDN-Cache-Control", map[string]string{"Cache-Control": "no-store", "CDN-Cache-Control": "max-age=60"}, nil, 1},
		{"a client's no-cache", map[string]string{"Cache-Control": "max-age=60"}, []string{"Cache-Control", "no-cache"}, 1},
	}
	list := vocabulary(m, len(rows)+3)
	var ways check.Ways
	for i, row := range rows {
		target, path := fresh(m, list[i])
		tell(m, trouble{Path: path, Header: row.header})
		before := fetched(m)
		a, b := m.Get(first, webPort, target, row.ask...), m.Get(first, webPort, target, row.ask...)
		asked := fetched(m) - before
		ways.Way("freshness").Note(a.Status == http.StatusOK && b.Status == http.StatusOK && string(a.Body) == string(b.Body) && asked == row.fetches,
			"%s: %d and %d, %d questions, not %d", row.name, a.Status, b.Status, asked, row.fetches)
	}
	ages(m, &ways, list[len(rows)])
	validators(m, &ways, list[len(rows)+1])
	unsafe(m, &ways, list[len(rows)+2])
	return ways.Decide()
}

// ages: what was 40 seconds old when it came grows older here, and ends.
func ages(m *check.M, ways *check.Ways, word string) {
	t := ways.Way("age")
	target, path := fresh(m, word)
	tell(m, trouble{Path: path, Header: map[string]string{"Cache-Control": "max-age=43", "Age": "40"}})
	before := fetched(m)
	begun := time.Now()
	a := age(m.Get(first, webPort, target))
	past(m, begun, 2*time.Second)
	b := age(m.Get(first, webPort, target))
	asked := fetched(m) - before
	m.Need(time.Since(begun) < 3*time.Second || asked > 1, "two requests took %v: the machine is too busy", time.Since(begun))
	if time.Since(begun) < 3*time.Second {
		t.Note(a >= 40 && b >= a+1 && asked <= 2, "it was %d s old, and after 2 s %d, %d questions", a, b, asked)
	}
	past(m, begun, 4*time.Second)
	before = fetched(m)
	p := m.Get(first, webPort, target)
	t.Note(p.Status == http.StatusOK && fetched(m) == before+1, "with 44 of 43 s it was used without a question")
}

// validators: conditions and ranges are answered from the store, and the store revalidates with the service's own.
func validators(m *check.M, ways *check.Ways, word string) {
	target, path := fresh(m, word)
	tell(m, trouble{Path: path, Header: map[string]string{"Cache-Control": "max-age=60"}})
	whole := m.Get(first, webPort, target)
	tagged := whole.Header.Get("ETag")
	m.Need(whole.Status == http.StatusOK && tagged != "" && len(whole.Body) > 10, "the word has no ETag, or little text")
	n, text := len(whole.Body), string(whole.Body)
	before := fetched(m)
	for _, row := range []struct {
		name, method string
		ask          []string
		status       int
		body, header string
		value        string
	}{
		{"HEAD", "HEAD", nil, 200, "", "Content-Length", fmt.Sprint(n)},
		{"If-None-Match", "GET", []string{"If-None-Match", tagged}, 304, "", "ETag", tagged},
		{"If-None-Match, weak", "GET", []string{"If-None-Match", "W/" + tagged}, 304, "", "ETag", tagged},
		{"If-None-Match, another", "GET", []string{"If-None-Match", `"x"`}, 200, text, "ETag", tagged},
		{"a range", "GET", []string{"Range", "bytes=2-5"}, 206, text[2:6], "Content-Range", fmt.Sprintf("bytes 2-5/%d", n)},
		{"the end", "GET", []string{"Range", "bytes=-3"}, 206, text[n-3:], "Content-Length", "3"},
		{"behind the end", "GET", []string{"Range", fmt.Sprintf("bytes=%d-", n)}, 416, "*", "Content-Range", fmt.Sprintf("bytes */%d", n)},
		{"If-Range", "GET", []string{"Range", "bytes=0-1", "If-Range", tagged}, 206, text[:2], "ETag", tagged},
		{"If-Range, another", "GET", []string{"Range", "bytes=0-1", "If-Range", `"x"`}, 200, text, "ETag", tagged},
	} {
		p := m.Do(row.method, first, webPort, target, nil, row.ask...)
		ways.Way("conditions and ranges").Note(p.Status == row.status && (row.body == "*" || string(p.Body) == row.body) && p.Header.Get(row.header) == row.value,
			"%s: %d, %q, %s: %q", row.name, p.Status, p.Body, row.header, p.Header.Get(row.header))
	}
	asked := fetched(m) - before
	ways.Way("conditions and ranges").Note(asked == 0, "the service was asked %d times", asked)

	// What must be asked for each time is asked for with its validator: the service need not say it again.
	target, path = fresh(m, word)
	tell(m, trouble{Path: path, Header: map[string]string{"Cache-Control": "no-cache"}})
	m.Get(first, webPort, target)
	same := func() (n float64) {
		for _, c := range copies {
			n += m.Counter(c, adminPort, "dictionary_requests_total", `page="word"`, `code="304"`)
		}
		return n
	}
	was := same()
	for range 3 {
		p := m.Get(first, webPort, target)
		ways.Way("revalidation").Note(p.Status == http.StatusOK && string(p.Body) == text, "%d, %d bytes", p.Status, len(p.Body))
	}
	ways.Way("revalidation").Note(same() == was+3, "of 3 the service said %.0f times that nothing has changed", same()-was)
}

// unsafe: what a POST has changed is not what was stored.
func unsafe(m *check.M, ways *check.Ways, word string) {
	const target = "/-/session"
	t := ways.Way("unsafe methods")
	tell(m, trouble{Path: target, Header: map[string]string{"Cache-Control": "max-age=60", "X-Mark": "old"}})
	mark := func() string { return m.Get(first, webPort, target).Header.Get("X-Mark") }
	forget(m, first, target)
	mark()
	tell(m, trouble{Path: target, Header: map[string]string{"Cache-Control": "max-age=60", "X-Mark": "new"}})
	was := mark()
	m.Need(was == "old", "what is to be changed was not stored: %q", was)
	p := m.Do(http.MethodPost, first, webPort, target, nil)
	m.Need(p.Status == http.StatusOK, "POST: %d", p.Status)
	now := mark()
	t.Note(now == "new", "after the POST it is still %q", now)
	forget(m, first, target)
}
