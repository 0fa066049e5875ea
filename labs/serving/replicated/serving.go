package replicated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"distlab/lab/check"
	"distlab/lab/stats"
)

// spread asks for a word many times in each way and counts who gave it. The probe comes from one address alone: who
// spreads by address would put all on one copy. All answers must be the same, validator included: a client's next one
// comes from another.
func spread(m *check.M) check.Result {
	const n = 300
	well(m)
	ways := map[string][]string{"kept": nil, "anew": {"-header", "Connection: close"}}
	alpha := stats.AlphaOf(len(ways))
	least := 1.0
	var said []string
	var same check.Tally
	var body, tag string
	for _, way := range []string{"kept", "anew"} {
		counts := make([]int, len(copies))
		for range 3 { // a probe takes so many addresses
			for _, a := range m.HTTPEach(check.Outside, ways[way], slices.Repeat([]string{door + "/serenity"}, n/3)...) {
				m.Need(a.Status == http.StatusOK, "%s: %d %s", way, a.Status, a.Error)
				h := http.Header(a.Header)
				i := slices.Index(copies, h.Get("X-Served-By"))
				m.Need(i >= 0, "a word from none of the copies: %q", h.Get("X-Served-By"))
				counts[i]++
				if tag == "" {
					body, tag = string(a.Body), h.Get("Etag")
				}
				same.Note(string(a.Body) == body && h.Get("Etag") == tag && tag != "",
					"%s: %q with %s", h.Get("X-Served-By"), a.Body, h.Get("Etag"))
			}
		}
		_, p, err := stats.ChiSquare(counts, []float64{1, 1, 1})
		check.Must(err)
		least = min(least, p)
		said = append(said, fmt.Sprintf("%s: %v", way, counts))
	}
	right := strings.Contains(body, `"word": "serenity"`)
	return check.Decide(least >= alpha && same.Whole() && right,
		"of %d words each %s, least p = %.2g; %v answers the same",
		n, strings.Join(said, ", "), least, &same).
		Want("a third each, p ≥ %.2g; all", alpha).Of(len(ways)*n).Because("%s", same.Odd())
}

// client is one with cookies of its own, which uses no connection twice.
type client struct {
	http   *http.Client
	at     string // the copy that it was at last
	visits int    // that this copy should have counted
}

// visit is what the copy says.
type visit struct {
	Visits  int    `json:"visits"`
	Replica string `json:"replica"`
}

func (c *client) visit(ctx context.Context, url string) (v visit, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return v, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, errors.New(resp.Status)
	}
	return v, json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&v)
}

// session has clients come again and again, stops a copy, starts it, and has them come again.
func session(m *check.M) check.Result {
	const clients, rounds = 24, 5
	well(m)
	all := make([]*client, clients)
	for i := range all {
		jar, _ := cookiejar.New(nil)
		all[i] = &client{http: &http.Client{
			Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second,
		}}
	}
	var stayed, moved, settled check.Tally
	// round has each come once; who may move is judged by move, once.
	round := func(move string, tally *check.Tally) {
		m.Each(len(all), 4, func(m *check.M, i int) {
			c := all[i]
			v := check.Got(c.visit(m.Context(), "http://"+m.Address(balancer, webPort)+"/-/session"))
			switch {
			case c.at == "": // its first
				tally.Note(v.Visits == 1, "client %d begins with %d visits", i, v.Visits)
			case c.at == move:
				moved.Note(v.Visits == 1 && v.Replica != move, "client %d of %s: %d visits at %s", i, c.at, v.Visits, v.Replica)
			default:
				tally.Note(v.Replica == c.at && v.Visits == c.visits+1,
					"client %d of %s with %d visits: %d at %s", i, c.at, c.visits, v.Visits, v.Replica)
			}
			c.at, c.visits = v.Replica, v.Visits
		})
	}
	for range rounds {
		round("", &stayed)
	}
	victim := all[0].at
	had := 0
	for _, c := range all {
		if c.at == victim {
			had++
		}
	}
	gone := m.Stop(victim)
	others := slices.DeleteFunc(slices.Clone(copies), func(s string) bool { return s == victim })
	m.Await(patience, "the others alone to take part", part(others...))
	round(victim, &stayed)
	for range rounds - 1 {
		round("", &settled)
	}
	m.Heal(gone)
	m.Await(patience, "all to take part again", part(copies...))
	for range rounds {
		round("", &settled)
	}
	ok := stayed.Whole() && moved.Whole() && settled.Whole() && moved.All() == had
	return check.Decide(ok,
		"%v visits were at the client's own copy; of %s, which went, %v clients moved; %v later visits were where they went",
		&stayed, victim, &moved, &settled).
		Want("all; all %d; all", had).Of(stayed.All()+moved.All()+settled.All()).
		Because("%s", stayed.Odd()).Because("%s", moved.Odd()).Because("%s", settled.Odd())
}

// capacity counts what n copies answer when always some ask, through the balancer and, as the control, at the copies
// themselves. The two take turns, so that what else the machine does is the same for both. Where the machine has not as
// much to give as the copies may take, four fifths of what they carry by themselves are enough.
func capacity(m *check.M) check.Result {
	const askers, turns, turn = 12, 4, 700 * time.Millisecond
	const double, triple, least = 1.6, 2.4, 0.8
	well(m)
	through := []string{"http://" + m.Address(balancer, webPort) + "/cat"}
	var direct []string
	for _, s := range copies {
		direct = append(direct, "http://"+m.Address(s, webPort)+"/cat")
	}
	carried, alone := make([]float64, len(copies)+1), make([]float64, len(copies)+1)
	answers := 0
	for n := len(copies); n > 0; n-- {
		m.Await(patience, fmt.Sprintf("%d copies", n), part(copies[:n]...))
		for range turns {
			a, took := crowd(m, through, askers, turn)
			carried[n] += float64(a) / took.Seconds() / turns
			b, took := crowd(m, direct[:n], askers, turn)
			alone[n] += float64(b) / took.Seconds() / turns
			answers += a + b
		}
		if n > 1 {
			ready(m, copies[n-1], false)
		}
	}
	two, three := carried[2]/carried[1], carried[3]/carried[1]
	can2, can3 := alone[2]/alone[1], alone[3]/alone[1]
	want2, want3 := min(double, least*can2), min(triple, least*can3)
	res := check.Decide(two >= want2 && three >= want3,
		"one carries %.0f requests a second, two %.2f times as many, three %.2f times", carried[1], two, three).
		Want("%.1f and %.1f times, at least", want2, want3).Of(answers).
		Because("asked themselves: %.0f, %.0f, %.0f a second; through the balancer %.0f, %.0f, %.0f",
			alone[1], alone[2], alone[3], carried[1], carried[2], carried[3])
	if can2 < 1.5 || can3 < 2 {
		return check.Unknown("the copies themselves do not carry more together: the machine has no more to give").
			Because("%s", res.Measured).Because("%s", res.Detail)
	}
	return res
}

// crowd has so many clients ask all the time, in turns at the URLs, and counts the answers.
func crowd(m *check.M, urls []string, askers int, length time.Duration) (answers int, took time.Duration) {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: askers}, Timeout: 30 * time.Second}
	defer c.CloseIdleConnections()
	var n atomic.Int64
	begun := time.Now()
	m.Each(askers, askers, func(m *check.M, i int) {
		for time.Since(begun) < length {
			req := check.Got(http.NewRequestWithContext(m.Context(), http.MethodGet, urls[i%len(urls)], nil))
			resp := check.Got(c.Do(req))
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			m.Need(resp.StatusCode == http.StatusOK, "answered %s", resp.Status)
			n.Add(1)
		}
	})
	return int(n.Load()), time.Since(begun)
}
