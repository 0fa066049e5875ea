package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Server answers over HTTP.
//
//	GET /WORD                       what it means, as JSON or as text
//	GET /?prefix=PRE&limit=20&after=WORD   words that begin so
//	POST, GET, DELETE /-/session    counts a visit of this client, shows it, forgets it
//	GET /-/license                  whose words these are
//	GET /readyz                     200 if it should be asked, 503 and the reason if not
type Server struct {
	Name         string
	CacheControl string
	Work         *Work
	Sessions     *Sessions
	MaxRequests  int
	Trouble      *Switch
	Log          *slog.Logger
	Metrics      *metrics

	words    atomic.Pointer[Dictionary]
	stopping atomic.Bool
	inFlight atomic.Int64
}

// clientLeft is nginx's code for an answer that nobody waits for any more: it stands in the metrics alone.
const clientLeft = 499

// Why it should not be asked.
const (
	loading  = "loading"
	stopping = "stopping"
	told     = "told to be unready"
)

// Use puts words in force, from the first time on it answers.
func (s *Server) Use(d *Dictionary) { s.words.Store(d) }

// Stop says that the end is near: it goes on answering, and tells everybody to leave.
func (s *Server) Stop() { s.stopping.Store(true) }

// unready is why it should not be asked, or "".
func (s *Server) unready() string {
	switch {
	case s.stopping.Load():
		return stopping
	case s.words.Load() == nil:
		return loading
	case s.Trouble.Now().Unready:
		return told
	}
	return ""
}

// Status is what the admin port's /status shows.
func (s *Server) Status() any {
	words := 0
	if d := s.words.Load(); d != nil {
		words = d.Len()
	}
	return struct {
		Name     string  `json:"name"`
		Asked    bool    `json:"ready"` // as /readyz says
		Why      string  `json:"why,omitempty"`
		Words    int     `json:"words"`
		InFlight int64   `json:"in_flight"`
		Sessions int     `json:"sessions"`
		Trouble  Trouble `json:"trouble"`
	}{s.Name, s.unready() == "", s.unready(), words, s.inFlight.Load(), s.Sessions.Len(), s.Trouble.Now()}
}

// HTTP is the server of all of it.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
}

// Handler is all pages.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /readyz", s.count("readyz", http.HandlerFunc(s.readyz)))
	mux.Handle("GET /{word}", s.count("word", s.page(s.word)))
	mux.Handle("GET /{$}", s.count("prefix", s.page(s.prefix)))
	mux.Handle("GET /-/session", s.count("session", s.page(s.session)))
	mux.Handle("POST /-/session", s.count("session", s.page(s.session)))
	mux.Handle("DELETE /-/session", s.count("session", s.page(s.session)))
	mux.Handle("GET /-/license", s.count("license", s.page(s.showLicense)))
	mux.Handle("/", s.count("other", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET, HEAD", http.StatusMethodNotAllowed)
			return
		}
		http.NotFound(w, r)
	})))
	return mux
}

// readyz is what a balancer asks.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Served-By", s.Name)
	s.leave(w)
	if why := s.unready(); why != "" {
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// leave tells a client that is connected to come to another one for its next request.
func (s *Server) leave(w http.ResponseWriter) {
	if s.stopping.Load() {
		w.Header().Set("Connection", "close")
	}
}

// page is what all answers have in common: the trouble, the bounds and the work.
func (s *Server) page(answer func(http.ResponseWriter, *http.Request, *Dictionary)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		w.Header().Set("X-Served-By", s.Name)
		s.leave(w)
		if n > int64(s.MaxRequests) {
			refuse(w, "too many requests at once")
			return
		}
		t := s.Trouble.For(r.URL.Path)
		if !t.before(w, r.Context()) {
			return
		}
		d := s.words.Load()
		if d == nil {
			refuse(w, loading)
			return
		}
		if err := s.Work.Do(r.Context()); err != nil {
			w.WriteHeader(clientLeft)
			return
		}
		if len(t.Header) > 0 {
			w = &dressed{ResponseWriter: w, header: t.Header}
		}
		answer(w, r, d)
	})
}

func refuse(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, why, http.StatusServiceUnavailable)
}

// word answers what one means.
func (s *Server) word(w http.ResponseWriter, r *http.Request, d *Dictionary) {
	name := r.PathValue("word")
	e, found := d.Find(strings.ToLower(name))
	if !found {
		w.Header().Set("Cache-Control", s.CacheControl)
		w.Header().Set("Vary", "Accept")
		http.Error(w, fmt.Sprintf("no word %.64q", name), http.StatusNotFound)
		return
	}
	s.give(w, r, e, func(b *bytes.Buffer) {
		for _, def := range e.Definitions {
			fmt.Fprintf(b, "%s (%s): %s\n", e.Word, def.Part, def.Text)
		}
	})
}

// The number of words that a list has.
const defaultLimit, maxLimit = 20, 1000

// prefix lists the words that begin in a way.
func (s *Server) prefix(w http.ResponseWriter, r *http.Request, d *Dictionary) {
	q := r.URL.Query()
	prefix, limit := strings.ToLower(q.Get("prefix")), defaultLimit
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, fmt.Sprintf("limit is a number from 1 to %d", maxLimit), http.StatusBadRequest)
			return
		}
		limit = n
	}
	words, more := d.Prefix(prefix, q.Get("after"), limit)
	list := struct {
		Prefix string   `json:"prefix"`
		Words  []string `json:"words"`
		More   bool     `json:"more"`
	}{prefix, words, more}
	s.give(w, r, list, func(b *bytes.Buffer) {
		for _, word := range words {
			fmt.Fprintln(b, word)
		}
	})
}

func (s *Server) showLicense(w http.ResponseWriter, r *http.Request, _ *Dictionary) {
	w.Header().Set("Cache-Control", s.CacheControl)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(license))
}

// give answers in the form that the client likes best, with a validator that belongs to the form. All copies give the
// same bytes.
func (s *Server) give(w http.ResponseWriter, r *http.Request, v any, text func(*bytes.Buffer)) {
	var b bytes.Buffer
	h := w.Header()
	h.Set("Vary", "Accept")
	h.Set("Cache-Control", s.CacheControl)
	switch negotiate(r.Header.Values("Accept")) {
	case "json":
		h.Set("Content-Type", "application/json")
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	case "text":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		text(&b)
	default:
		http.Error(w, "there is application/json and text/plain", http.StatusNotAcceptable)
		return
	}
	sum := sha256.Sum256(b.Bytes())
	h.Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	// It knows conditions, ranges and HEAD.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.Bytes()))
}

// cacheControl is the header's value for these times, in seconds.
func cacheControl(age, revalidate, ifError time.Duration) string {
	if age < time.Second {
		return "no-cache"
	}
	text := fmt.Sprintf("public, max-age=%d", int64(age.Seconds()))
	if revalidate > 0 {
		text += fmt.Sprintf(", stale-while-revalidate=%d", int64(revalidate.Seconds()))
	}
	if ifError > 0 {
		text += fmt.Sprintf(", stale-if-error=%d", int64(ifError.Seconds()))
	}
	return text
}

// session counts visits, or shows or forgets them. The answer is this client's alone.
func (s *Server) session(w http.ResponseWriter, r *http.Request, _ *Dictionary) {
	h := w.Header()
	h.Set("Cache-Control", "private, no-store")
	id := ""
	if c, err := r.Cookie(cookieName); err == nil {
		id = c.Value
	}
	switch r.Method {
	case http.MethodDelete:
		s.Sessions.Forget(id)
		http.SetCookie(w, cookie("", -1))
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodPost:
		v := s.Sessions.Visit(id)
		if v.ID != id {
			s.Metrics.started.Inc()
			http.SetCookie(w, cookie(v.ID, 0))
		}
		s.answer(w, v)
		return
	}
	v, found := s.Sessions.Find(id)
	if !found {
		http.Error(w, "no visit of yours is known here", http.StatusNotFound)
		return
	}
	s.answer(w, v)
}

func cookie(id string, age int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: id, MaxAge: age, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

func (s *Server) answer(w http.ResponseWriter, v Visits) {
	v.Replica = s.Name
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// before makes the trouble that comes before an answer; false: there is no other.
func (t Trouble) before(w http.ResponseWriter, ctx context.Context) bool {
	if t.Delay > 0 {
		timer := time.NewTimer(time.Duration(t.Delay))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			w.WriteHeader(clientLeft)
			return false
		}
	}
	switch {
	case t.Cut:
		panic(http.ErrAbortHandler) // the connection ends, and no answer comes
	case t.Status != 0:
		for name, value := range t.Header {
			w.Header().Set(name, value)
		}
		http.Error(w, "trouble, as told", t.Status)
		return false
	}
	return true
}

// dressed sets headers over those of an answer.
type dressed struct {
	http.ResponseWriter
	header map[string]string
	done   bool
}

func (d *dressed) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func (d *dressed) WriteHeader(code int) {
	if !d.done {
		d.done = true
		for name, value := range d.header {
			d.Header().Set(name, value)
		}
	}
	d.ResponseWriter.WriteHeader(code)
}

func (d *dressed) Write(b []byte) (int, error) {
	if !d.done {
		d.WriteHeader(http.StatusOK)
	}
	return d.ResponseWriter.Write(b)
}
