package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// API serves searches over HTTP.
//
//	GET /search?q=…        the best documents
//	GET /explain?q=…       the same, and who was asked when, and answered when; &format=svg draws it
type API struct {
	Root        *Root
	Timeout     time.Duration
	Partial     Policy
	MaxInFlight int
	Experiments bool
	Log         *slog.Logger
	Metrics     *metrics

	inFlight atomic.Int64
}

// What a search may be.
const (
	longestQuery = 2048
	mostWords    = 64
	mostHits     = 1000 // k and from together: each shard must send as many
	defaultHits  = 10
)

// Server is the whole of it.
func (a *API) Server() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /search", a.bounded(func(w http.ResponseWriter, res *Result, code int, _ string) {
		res.Attempts = nil
		answer(w, code, res)
	}))
	mux.HandleFunc("GET /explain", a.bounded(func(w http.ResponseWriter, res *Result, code int, format string) {
		if format == "svg" {
			w.Header().Set("Content-Type", "image/svg+xml")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(code)
			w.Write(draw(res))
			return
		}
		answer(w, code, res)
	}))
	return &http.Server{
		Handler:           a.Metrics.count(mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      a.Root.MaxTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
}

func answer(w http.ResponseWriter, code int, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // what is partial now may be whole in a moment
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}

func refuse(w http.ResponseWriter, code int, format string, args ...any) {
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	answer(w, code, map[string]string{"error": fmt.Sprintf(format, args...)})
}

type respond func(w http.ResponseWriter, res *Result, code int, format string)

// bounded does a search, unless too many are under way: those who come then are told at once, since a queue would only
// make them late.
func (a *API) bounded(respond respond) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, policy, format, err := a.parse(r.URL.RawQuery)
		if err != nil {
			refuse(w, http.StatusBadRequest, "%v", err)
			return
		}
		defer a.inFlight.Add(-1)
		if a.inFlight.Add(1) > int64(a.MaxInFlight) {
			refuse(w, http.StatusServiceUnavailable, "%d searches are under way", a.MaxInFlight)
			return
		}
		a.Metrics.inFlight.Inc()
		defer a.Metrics.inFlight.Dec()
		begun := time.Now()
		res := a.Root.Do(r.Context(), s)
		a.Metrics.seconds.Observe(time.Since(begun).Seconds())
		for _, m := range res.Shards.Missing {
			a.Metrics.missing.WithLabelValues(m.Why).Inc()
		}
		if !res.Partial {
			respond(w, res, http.StatusOK, format)
			return
		}
		a.Metrics.partial.Inc()
		w.Header().Set("Search-Partial", fmt.Sprintf("%d of %d shards missing", len(res.Shards.Missing), res.Shards.Total))
		code := http.StatusOK
		if res.Shards.Answered == 0 || policy == Refuse {
			code = http.StatusServiceUnavailable
			if slices.ContainsFunc(res.Shards.Missing, func(m Missing) bool { return m.Why == "deadline" }) {
				code = http.StatusGatewayTimeout
			}
			w.Header().Set("Retry-After", "1")
			res.Hits, res.Matched = []Hit{}, 0
		}
		respond(w, res, code, format)
	}
}

// parse reads what is asked, from a URL's query. What it does not know it refuses: a misspelt parameter would be
// without effect, and nobody would see it.
func (a *API) parse(raw string) (s *Search, policy Policy, format string, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, "", "", err
	}
	s = &Search{K: defaultHits, Timeout: a.Timeout, Hedge: true}
	policy = a.Partial
	for name, list := range values {
		if len(list) > 1 {
			return nil, "", "", fmt.Errorf("%.40q is there %d times", name, len(list))
		}
		if err := a.parameter(s, &policy, &format, name, list[0]); err != nil {
			return nil, "", "", fmt.Errorf("%.40s=%.80q: %w", name, list[0], err)
		}
	}
	if s.Shards == nil {
		for i := range a.Root.shards {
			s.Shards = append(s.Shards, i)
		}
	}
	switch {
	case len(s.Words) == 0:
		err = fmt.Errorf("q has no word to search for")
	case s.K+s.From > mostHits:
		err = fmt.Errorf("k and from are more than %d together: each shard would have to send as many", mostHits)
	}
	return s, policy, format, err
}

// parameter reads one.
func (a *API) parameter(s *Search, policy *Policy, format *string, name, value string) (err error) {
	number := func(least, most int) (n int) {
		if n, err = strconv.Atoi(value); err != nil || n < least || n > most {
			err = fmt.Errorf("not a number of %d to %d", least, most)
		}
		return n
	}
	duration := func(least, most time.Duration) (d time.Duration) {
		if d, err = time.ParseDuration(value); err != nil || d < least || d > most {
			err = fmt.Errorf("not a time of %v to %v", least, most)
		}
		return d
	}
	one := func(words ...string) string {
		if !slices.Contains(words, value) {
			err = fmt.Errorf("not one of %s", strings.Join(words, ", "))
		}
		return value
	}
	switch name {
	case "q":
		if len(value) > longestQuery {
			return fmt.Errorf("longer than %d bytes", longestQuery)
		}
		if s.Words = wordsOf(value); len(s.Words) > mostWords {
			err = fmt.Errorf("more than %d words", mostWords)
		}
	case "mode":
		s.All = one("any", "all") == "all"
	case "k":
		s.K = number(1, mostHits)
	case "from":
		s.From = number(0, mostHits)
	case "timeout":
		s.Timeout = duration(time.Millisecond, a.Root.MaxTimeout)
	case "shards":
		for text := range strings.SplitSeq(value, ",") {
			n, bad := strconv.Atoi(text)
			if bad != nil || n < 0 || n >= len(a.Root.shards) || slices.Contains(s.Shards, n) {
				return fmt.Errorf("not shards of 0 to %d, each once", len(a.Root.shards)-1)
			}
			s.Shards = append(s.Shards, n)
		}
	case "hedge":
		s.Hedge = one("on", "off") == "on"
	case "partial":
		*policy = Policy(one(string(Answer), string(Refuse)))
	case "format":
		*format = one("json", "svg")
	case "drag", "delay":
		if !a.Experiments {
			return fmt.Errorf("experiments are off (EXPERIMENTS)")
		}
		if name == "drag" {
			s.Drag = duration(0, 100*time.Millisecond)
		} else {
			s.Delay = duration(0, 10*time.Second)
		}
	default:
		return fmt.Errorf("no such parameter")
	}
	return err
}
