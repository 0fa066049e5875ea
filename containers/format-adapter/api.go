package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// API answers with the records of all sources. It keeps none: each answer reads its sources.
type API struct {
	Sources atomic.Pointer[Sources]
	Puller  *Puller
	Forbid  bool // an answer without one of its sources is an error
	Float   bool // decimals are binary floating point
	Passes  chan struct{}
	Whole   time.Duration // for an answer that is not a stream
	m       *metrics
}

const (
	pageDefault = 100
	pageMax     = 1000
	pageBytes   = 1 << 20 // records of a page, but for the last
)

// Handler is the API.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /records", a.limited(a.records))
	mux.HandleFunc("GET /records/{key}", a.limited(a.record))
	mux.HandleFunc("GET /problems", a.limited(a.problems))
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		a.whole(w, r, http.StatusOK, "application/json", a.openAPI())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains([]string{"/records", "/problems", "/openapi.json"}, r.URL.Path) || strings.HasPrefix(r.URL.Path, "/records/") {
			w.Header().Set("Allow", "GET, HEAD")
			a.problem(w, r, http.StatusMethodNotAllowed, "this can be read only")
			return
		}
		a.problem(w, r, http.StatusNotFound, "there is /records, /records/{key}, /problems and /openapi.json")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &coded{ResponseWriter: w, code: http.StatusOK}
		defer func() { a.m.requests.WithLabelValues(strconv.Itoa(c.code)).Inc() }()
		mux.ServeHTTP(c, r)
	})
}

// coded remembers the status.
type coded struct {
	http.ResponseWriter
	code int
}

func (c *coded) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

func (c *coded) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// limited bounds how many read sources at a time: each takes memory, and the sources are old.
func (a *API) limited(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case a.Passes <- struct{}{}:
			defer func() { <-a.Passes }()
			h(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			a.problem(w, r, http.StatusServiceUnavailable, fmt.Sprintf("%d others are reading already", cap(a.Passes)))
		}
	}
}

// problem is an error as RFC 9457 has it.
func (a *API) problem(w http.ResponseWriter, r *http.Request, code int, detail string, more ...any) {
	body := map[string]any{"type": "about:blank", "title": http.StatusText(code), "status": code, "detail": detail, "instance": r.URL.RequestURI()}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	a.whole(w, r, code, "application/problem+json", encode(body))
}

// encode is a line of JSON. A record in it has the bytes that it has everywhere: json.Marshal would write < and & otherwise.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // of maps and structs of text and numbers
	return b.Bytes()
}

// whole writes an answer that is there. Its tag is of its bytes, which hold no time: what has not changed is the same.
func (a *API) whole(w http.ResponseWriter, r *http.Request, code int, kind string, body []byte) {
	h := w.Header()
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	if code == http.StatusOK {
		sum := sha256.Sum256(body)
		tag := `"` + hex.EncodeToString(sum[:12]) + `"`
		h.Set("ETag", tag)
		h.Set("Cache-Control", "no-cache")
		if matches(r.Header.Values("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// matches compares weakly, as If-None-Match is to be (RFC 9110, 13.1.2).
func matches(fields []string, tag string) bool {
	for _, f := range strings.Split(strings.Join(fields, ","), ",") {
		if f = strings.TrimSpace(f); f == "*" || strings.TrimPrefix(f, "W/") == tag {
			return true
		}
	}
	return false
}

// query is what a request asks for.
type query struct {
	all     *Sources
	sources []*Source
	filters []filter
	limit   int
	at      cursor
	stream  bool
	forbid  bool
}

// cursor is where the next page begins: behind so many records of a source, bad ones counted.
type cursor struct {
	Source string `json:"s"`
	After  int    `json:"n"`
}

func (c cursor) String() string {
	text, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(text)
}

// parameterError is one thing that is wrong with a request.
type parameterError struct {
	Parameter string `json:"parameter"`
	Detail    string `json:"detail"`
}

// parse reads a request's query; each mistake is told.
func (a *API) parse(r *http.Request, filters bool) (q query, wrong []parameterError) {
	q = query{all: a.Sources.Load(), limit: pageDefault, forbid: a.Forbid}
	say := func(name, format string, args ...any) {
		wrong = append(wrong, parameterError{name, fmt.Sprintf(format, args...)})
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		say("", "no query: %v", err)
	}
	for _, s := range q.all.Sources {
		if !s.Unlisted && len(values["source"]) == 0 {
			q.sources = append(q.sources, s)
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for i, text := range values[name] {
			switch {
			case name == "source":
				j := slices.IndexFunc(q.all.Sources, func(s *Source) bool { return s.Name == text })
				if j < 0 {
					say(name, "there is no source %q", clip(text))
				} else if !slices.Contains(q.sources, q.all.Sources[j]) {
					q.sources = append(q.sources, q.all.Sources[j])
				}
			case i > 0:
				say(name, "it is there twice")
			case name == "limit":
				if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > pageMax {
					say(name, "want 1 to %d", pageMax)
				}
			case name == "partial":
				q.forbid = text == "forbid"
				if text != "forbid" && text != "allow" {
					say(name, "want allow or forbid")
				}
			case name == "format" && filters:
				q.stream = text == "ndjson"
				if text != "ndjson" && text != "json" {
					say(name, "want json or ndjson")
				}
			case name == "cursor" && filters:
				b, err := base64.RawURLEncoding.DecodeString(text)
				if err != nil || json.Unmarshal(b, &q.at) != nil || q.at.After < 0 {
					say(name, "not one that was given")
				}
			case filters:
				f, err := q.all.Schema.filter(name, text)
				if err != nil {
					say(name, "%v", err)
				}
				q.filters = append(q.filters, f)
			default:
				say(name, "not known here")
			}
		}
	}
	if q.at.Source != "" && !slices.ContainsFunc(q.sources, func(s *Source) bool { return s.Name == q.at.Source }) {
		say("cursor", "its source is not among those that are asked")
	}
	return q, wrong
}

// matches says whether a record is asked for.
func (q *query) matches(values []value) bool {
	for _, f := range q.filters {
		if !f.matches(values[f.field]) {
			return false
		}
	}
	return true
}

// item is a record in an answer.
type item struct {
	Source string          `json:"source"`
	Record json.RawMessage `json:"record"`
}

func (a *API) records(w http.ResponseWriter, r *http.Request) {
	q, wrong := a.parse(r, true)
	kind := accepted(r, "application/json", "application/x-ndjson")
	switch {
	case len(wrong) > 0:
		a.problem(w, r, http.StatusBadRequest, "the query is wrong", "errors", wrong)
	case kind == "":
		a.problem(w, r, http.StatusNotAcceptable, "there is application/json and application/x-ndjson")
	case q.stream || kind == "application/x-ndjson" && r.URL.Query().Get("format") == "":
		a.stream(w, r, q)
	default:
		a.page(w, r, q)
	}
}

// page is an answer that is whole before it is sent.
func (a *API) page(w http.ResponseWriter, r *http.Request, q query) {
	ctx, cancel := context.WithTimeoutCause(r.Context(), a.Whole, fmt.Errorf("it was not read in %v", a.Whole))
	defer cancel()
	var items []byte
	n, next := 0, cursor{}
	outcomes := []Outcome{}
	for _, src := range q.sources {
		skip := 0
		switch {
		case next.Source != "":
			outcomes = append(outcomes, Outcome{Name: src.Name, State: stateUnread})
			continue
		case q.at.Source == src.Name:
			skip, q.at.Source = q.at.After, ""
		case q.at.Source != "":
			continue // in an earlier page
		}
		o := a.Puller.pass(ctx, &q.all.Schema, src, func(at int, values []value) error {
			switch {
			case at <= skip || !q.matches(values):
				return nil
			case n == q.limit || len(items) > pageBytes:
				next = cursor{src.Name, at - 1}
				return errStop
			}
			if n > 0 {
				items = append(items, ',')
			}
			items = append(items, "\n{\"source\":\""+src.Name+`","record":`...)
			items = append(a.append(q.all, items, values), '}')
			n++
			return nil
		}, none)
		outcomes = append(outcomes, o)
	}
	if a.failed(w, r, q, n, outcomes) {
		return
	}
	tail := map[string]any{"partial": partial(outcomes), "sources": outcomes, "next": nil}
	if next.Source != "" {
		tail["next"] = next.String()
		u := url.URL{Path: "/records"}
		values := r.URL.Query()
		values.Set("cursor", next.String())
		u.RawQuery = values.Encode()
		w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, u.String()))
	}
	end, _ := json.Marshal(tail)
	body := append([]byte(`{"items":[`), items...)
	body = append(append(append(body, "],\n"...), end[1:]...), '\n')
	a.whole(w, r, http.StatusOK, "application/json", body)
}

func none(Problem) error { return nil }

// append appends a record.
func (a *API) append(all *Sources, b []byte, values []value) []byte {
	return all.Schema.appendRecord(b, values, a.Float)
}

func partial(outcomes []Outcome) bool { return slices.ContainsFunc(outcomes, Outcome.failed) }

// failed answers where there is nothing, because no source could be read, or where a part is not enough.
func (a *API) failed(w http.ResponseWriter, r *http.Request, q query, n int, outcomes []Outcome) bool {
	all := len(outcomes) > 0 && n == 0 && !slices.ContainsFunc(outcomes, func(o Outcome) bool { return !o.failed() })
	if !all && !(q.forbid && partial(outcomes)) {
		return false
	}
	why := "none of the sources could be read"
	if !all {
		why = "not all of the sources could be read, and a part is not wanted"
	}
	w.Header().Set("Retry-After", "1")
	a.problem(w, r, http.StatusServiceUnavailable, why, "sources", outcomes)
	return true
}

// record looks for a key in the sources in their order. The first that has it answers; the others are named, and whether they
// say the same.
func (a *API) record(w http.ResponseWriter, r *http.Request) {
	q, wrong := a.parse(r, false)
	if len(wrong) > 0 {
		a.problem(w, r, http.StatusBadRequest, "the query is wrong", "errors", wrong)
		return
	}
	if accepted(r, "application/json") == "" {
		a.problem(w, r, http.StatusNotAcceptable, "there is application/json")
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), a.Whole, fmt.Errorf("it was not read in %v", a.Whole))
	defer cancel()
	key := r.PathValue("key")
	var first *item
	also, conflict := []string{}, false
	outcomes := []Outcome{}
	for _, src := range q.sources {
		o := a.Puller.pass(ctx, &q.all.Schema, src, func(_ int, values []value) error {
			if values[q.all.Schema.key].text != key {
				return nil
			}
			text := a.append(q.all, nil, values)
			if first == nil {
				first = &item{src.Name, text}
			} else {
				also = append(also, src.Name)
				conflict = conflict || !bytes.Equal(first.Record, text)
			}
			return errStop
		}, none)
		if o.State == stateMore {
			o.State = stateOK // it had what was looked for
		}
		o.Records, o.Rejected = 0, 0
		outcomes = append(outcomes, o)
	}
	var looked []map[string]string
	for _, o := range outcomes {
		looked = append(looked, map[string]string{"name": o.Name, "state": o.State})
	}
	switch {
	case partial(outcomes) && (first == nil || q.forbid):
		a.problem(w, r, http.StatusServiceUnavailable, "a source that may have it could not be read", "sources", outcomes)
	case first == nil:
		a.problem(w, r, http.StatusNotFound, "no source has this record")
	default:
		a.whole(w, r, http.StatusOK, "application/json", encode(map[string]any{
			"source": first.Source, "record": first.Record, "also": also, "conflict": conflict, "partial": partial(outcomes), "sources": looked,
		}))
	}
}

// problems are the bad records of the sources, the first of them, and how many there are.
func (a *API) problems(w http.ResponseWriter, r *http.Request) {
	q, wrong := a.parse(r, false)
	if len(wrong) > 0 {
		a.problem(w, r, http.StatusBadRequest, "the query is wrong", "errors", wrong)
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), a.Whole, fmt.Errorf("it was not read in %v", a.Whole))
	defer cancel()
	list, total, outcomes := []Problem{}, 0, []Outcome{}
	for _, src := range q.sources {
		o := a.Puller.pass(ctx, &q.all.Schema, src, func(int, []value) error { return nil }, func(p Problem) error {
			if total++; len(list) < q.limit {
				list = append(list, p)
			}
			return nil
		})
		outcomes = append(outcomes, o)
	}
	a.whole(w, r, http.StatusOK, "application/json",
		encode(map[string]any{"total": total, "problems": list, "partial": partial(outcomes), "sources": outcomes}))
}

// accepted is the kind that the client likes best of those that there are; empty: none.
func accepted(r *http.Request, kinds ...string) string {
	fields := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(fields) == "" {
		return kinds[0]
	}
	best, most := "", 0.0
	for _, kind := range kinds {
		q, exact := 0.0, -1
		for _, f := range strings.Split(fields, ",") {
			name, params, _ := strings.Cut(f, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			major, _, _ := strings.Cut(kind, "/")
			level := slices.Index([]string{"*/*", major + "/*", kind}, name)
			if level < 0 || level < exact {
				continue
			}
			exact, q = level, 1
			for _, p := range strings.Split(params, ";") {
				if text, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(p)), "q="); ok {
					q, _ = strconv.ParseFloat(text, 64)
				}
			}
		}
		if q > most {
			best, most = kind, q
		}
	}
	return best
}
