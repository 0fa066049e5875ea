package cache

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sort"

	"distlab/lab/check"
)

// hitRatio asks at the door for words that are drawn as Zipf says, and counts what came to the service. A cache that
// has not seen a word asks for it once; there are two, and each gets half of the requests. So the number of questions
// can be computed.
func hitRatio(m *check.M) check.Result {
	const requests, words, sigmas = 2000, 300, 5
	end := begin(m)
	defer end()
	list := vocabulary(m, words)
	of := m.Fresh()
	weight, sum := make([]float64, words), 0.0
	for i := range weight {
		sum += 1 / float64(i+1)
		weight[i] = sum
	}
	expected, variance := 0.0, 0.0
	for i := range words {
		never := math.Pow(1-1/float64(i+1)/sum/float64(len(caches)), requests)
		expected += float64(len(caches)) * (1 - never)
		variance += float64(len(caches)) * never * (1 - never)
	}
	drawn := make([]string, requests)
	for i := range drawn {
		drawn[i] = list[sort.SearchFloat64s(weight, m.Rand().Float64()*sum)]
	}
	tell(m, trouble{Header: keep("max-age=600")})
	u := newUser(m, false)
	defer u.close()
	before := fetched(m)
	var answers check.Tally
	m.Each(requests, 8, func(m *check.M, i int) {
		p, err := u.get(m, "/"+drawn[i]+"?of="+of)
		answers.Note(err == nil && p.Status == http.StatusOK, "%s: %d %v", drawn[i], p.Status, err)
	})
	m.Need(answers.Whole(), "%v answers were well: %s", &answers, answers.Odd())
	asked := fetched(m) - before
	spread := sigmas * math.Sqrt(variance)
	return check.Decide(math.Abs(float64(asked)-expected) <= spread, "of %d requests for %d words %d came to the service: %.1f %% hits",
		requests, words, asked, 100*(1-float64(asked)/requests)).
		Want("%.0f, give or take %.0f (five standard deviations): %.1f %% hits", expected, spread, 100*(1-expected/requests)).Of(requests)
}

// coalesced asks many times at once for what nobody has, and which takes a second: at one cache, in one form and in
// two, and at the door.
func coalesced(m *check.M) check.Result {
	const n = 100
	end := begin(m)
	defer end()
	list := vocabulary(m, 4)
	u, u2 := newUser(m, false), newUser(m, true)
	defer u.close()
	defer u2.close()
	var ways check.Ways
	said := ""
	for i, way := range []struct {
		name  string
		forms []string
		most  int
		get   func(m *check.M, target, accept string) (check.Page, error)
	}{
		{"one cache", []string{"application/json"}, 1, func(m *check.M, target, accept string) (check.Page, error) {
			return m.Asked(first, webPort, target, "Accept", accept)
		}},
		{"two forms", []string{"application/json", "text/plain"}, 2, func(m *check.M, target, accept string) (check.Page, error) {
			return m.Asked(first, webPort, target, "Accept", accept)
		}},
		{"at the door, HTTP/1.1", []string{"text/plain"}, len(caches), func(m *check.M, target, accept string) (check.Page, error) {
			return u.get(m, target, "Accept", accept)
		}},
		{"at the door, HTTP/2", []string{"text/plain"}, len(caches), func(m *check.M, target, accept string) (check.Page, error) {
			return u2.get(m, target, "Accept", accept)
		}},
	} {
		target, path := fresh(m, list[i])
		tell(m, trouble{Delay: "1s", Path: path, Header: keep("max-age=600")})
		before := fetched(m)
		t := ways.Way(way.name)
		m.Each(n, n, func(m *check.M, i int) {
			accept := way.forms[i%len(way.forms)]
			p, err := way.get(m, target, accept)
			t.Note(err == nil && form(p, accept), "asked for %s: %d, %s, %v", accept, p.Status, p.Header.Get("Content-Type"), err)
		})
		asked := fetched(m) - before
		t.Note(asked >= 1 && asked <= way.most, "%d of them came to the service", asked)
		said += fmt.Sprintf("%s: %d asked, the service %d times\n", way.name, n, asked)
	}
	return ways.Decide().Because("%s", said)
}

// leaderLeaves has one ask for what takes some seconds, and many others wait for the same; then the one hangs up.
func leaderLeaves(m *check.M) check.Result {
	const n = 50
	end := begin(m)
	defer end()
	target, path := fresh(m, vocabulary(m, 1)[0])
	tell(m, trouble{Delay: "3s", Path: path, Header: keep("max-age=600")})
	before := fetched(m)
	waiting := func(m *check.M, least int) error {
		var status struct{ Waiting int }
		if m.JSON(first, adminPort, "/status", &status); status.Waiting < least {
			return fmt.Errorf("%d wait", status.Waiting)
		}
		return nil
	}
	ctx, leave := context.WithCancel(m.Context())
	defer leave()
	gone := make(chan error, 1)
	req := check.Got(http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.Address(first, webPort)+target, nil))
	go func() {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	m.Await(patience, "the first to wait", func(m *check.M) error { return waiting(m, 1) })
	var others check.Tally
	m.Together(func(m *check.M) {
		m.Each(n, n, func(m *check.M, i int) {
			p, err := m.Asked(first, webPort, target)
			others.Note(err == nil && p.Status == http.StatusOK && len(p.Body) > 0, "%d %v", p.Status, err)
		})
	}, func(m *check.M) {
		m.Until(patience, func(m *check.M) error { return waiting(m, n+1) })
		leave()
	})
	m.Need(<-gone != nil, "the first had its answer before it could hang up: the machine is too busy")
	asked := fetched(m) - before
	return check.Decide(others.Whole() && asked == 1, "%v others had the answer; the service was asked %d times", &others, asked).
		Want("all, once").Of(others.All()).Because("%s", others.Odd())
}

// privateNeverShared has answers that are one client's alone. Each client is told by the service who it is, and asks
// after the other; and then many ask at once.
func privateNeverShared(m *check.M) check.Result {
	const clients, crowd = 4, 20
	end := begin(m)
	defer end()
	list := vocabulary(m, 8)
	var ways check.Ways
	said := ""
	for i, c := range []struct {
		name   string
		header map[string]string
		ask    func(i int) []string
	}{
		{"private", map[string]string{"Cache-Control": "private, max-age=60"}, nil},
		{"no-store", map[string]string{"Cache-Control": "no-store"}, nil},
		{"Set-Cookie", map[string]string{"Cache-Control": "public, max-age=60", "Set-Cookie": "id=%d"}, nil},
		{"Authorization", map[string]string{"Cache-Control": "max-age=60"}, func(i int) []string {
			return []string{"Authorization", fmt.Sprintf("Bearer %d", i)}
		}},
		{"Cookie", map[string]string{"Cache-Control": "max-age=60"}, func(i int) []string { return []string{"Cookie", fmt.Sprintf("session=%d", i)} }},
	} {
		t := ways.Way(c.name)
		target, path := fresh(m, list[i])
		ask := func(i int) []string {
			if c.ask == nil {
				return nil
			}
			return c.ask(i)
		}
		for i := range clients {
			header := map[string]string{"X-You-Are": fmt.Sprint(i)}
			for name, value := range c.header {
				if name == "Set-Cookie" {
					value = fmt.Sprintf(value, i)
				}
				header[name] = value
			}
			tell(m, trouble{Path: path, Header: header})
			p := m.Get(first, webPort, target, ask(i)...)
			t.Note(p.Status == http.StatusOK && p.Header.Get("X-You-Are") == fmt.Sprint(i),
				"client %d was told %d and that it is %q, cookie %q", i, p.Status, p.Header.Get("X-You-Are"), p.Header.Get("Set-Cookie"))
		}
		// Nobody knows yet that this one is private. Who waits for another's answer is let go with the first.
		target, path = fresh(m, list[i])
		header := map[string]string{}
		for name, value := range c.header {
			header[name] = value
		}
		tell(m, trouble{Path: path, Delay: "500ms", Header: header})
		before := fetched(m)
		m.Each(crowd, crowd, func(m *check.M, i int) {
			p, err := m.Asked(first, webPort, target, ask(i)...)
			t.Note(err == nil && p.Status == http.StatusOK, "one of %d at once: %d %v", crowd, p.Status, err)
		})
		asked := fetched(m) - before
		t.Note(asked == crowd, "of %d at once the service was asked by %d", crowd, asked)
		said += fmt.Sprintf("%s: %d clients one after the other; %d at once were %d questions\n", c.name, clients, crowd, asked)
	}
	return ways.Decide().Because("%s", said)
}
