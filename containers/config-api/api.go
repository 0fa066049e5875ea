package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// API serves a Store over HTTP.
//
//	GET    /configs                         all of them
//	GET    /configs/NAME?version=7          one; with If-None-Match and ?wait=30s, the next one
//	PUT    /configs/NAME                    {"files": {"NAME": "TEXT"}, "message": "…"}
//	DELETE /configs/NAME
//	GET    /configs/NAME/history
//	POST   /configs/NAME/rollback?to=5      a new version that is what 5 was
//	GET, PUT, DELETE /configs/NAME/files/PATH   one file of it, as it is
type API struct {
	Store                 *Store
	WriteToken, ReadToken string
	MaxWait               time.Duration
	MaxWaiting            int
	Log                   *slog.Logger
	Metrics               *metrics

	waiting  atomic.Int64
	stopping chan struct{} // closed at the shutdown: who waits is answered
}

// writers bounds how many bodies are in memory at a time.
const writers = 8

// Server is the whole of it.
func (a *API) Server() *http.Server {
	a.stopping = make(chan struct{})
	slots := make(chan struct{}, writers)
	writes := func(h func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !authorized(r, a.WriteToken) {
				refuse(w, http.StatusUnauthorized, "a change needs the write token: Authorization: Bearer …")
				return
			}
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				h(w, r)
			case <-r.Context().Done():
			}
		}
	}
	reads := func(h func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if a.ReadToken != "" && !authorized(r, a.ReadToken) && !authorized(r, a.WriteToken) {
				refuse(w, http.StatusUnauthorized, "reading needs a token: Authorization: Bearer …")
				return
			}
			h(w, r)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /configs", reads(a.list))
	mux.HandleFunc("GET /configs/{name}", reads(a.get))
	mux.HandleFunc("GET /configs/{name}/history", reads(a.history))
	mux.HandleFunc("GET /configs/{name}/files/{path...}", reads(a.getFile))
	mux.HandleFunc("PUT /configs/{name}", writes(a.put))
	mux.HandleFunc("DELETE /configs/{name}", writes(a.delete))
	mux.HandleFunc("POST /configs/{name}/rollback", writes(a.rollback))
	mux.HandleFunc("PUT /configs/{name}/files/{path...}", writes(a.putFile))
	mux.HandleFunc("DELETE /configs/{name}/files/{path...}", writes(a.deleteFile))
	srv := &http.Server{
		Handler:           a.Metrics.count(mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      a.MaxWait + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
	srv.RegisterOnShutdown(sync.OnceFunc(func() { close(a.stopping) }))
	return srv
}

// authorized compares in constant time, and does not tell the token's length.
func authorized(r *http.Request, token string) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && ok && token != ""
}

func refuse(w http.ResponseWriter, code int, format string, args ...any) {
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="config-api"`)
	}
	answer(w, code, map[string]string{"error": fmt.Sprintf(format, args...)})
}

func answer(w http.ResponseWriter, code int, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}

// fail answers an error of the store's. v is the newest version, which a refused change should have been made to.
func (a *API) fail(w http.ResponseWriter, r *http.Request, v *Version, err error) {
	if v != nil {
		w.Header().Set("ETag", v.ETag())
	}
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, errNotFound):
		refuse(w, http.StatusNotFound, "%v", err)
	case errors.Is(err, errChanged) && v == nil:
		refuse(w, http.StatusPreconditionFailed, "there is no such configuration now")
	case errors.Is(err, errChanged):
		refuse(w, http.StatusPreconditionFailed, "%v: it is %s now", err, v.ETag())
	case errors.Is(err, errTooMuch), errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, "%v", err)
	case errors.Is(err, errBad):
		refuse(w, http.StatusBadRequest, "%v", err)
	default:
		a.Log.Error("change not kept", "config", r.PathValue("name"), "error", err)
		refuse(w, http.StatusInsufficientStorage, "%v", err)
	}
}

func (a *API) list(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, a.Store.List()) }

func (a *API) history(w http.ResponseWriter, r *http.Request) {
	list, err := a.Store.Versions(r.PathValue("name"))
	if err != nil {
		a.fail(w, r, nil, err)
		return
	}
	answer(w, http.StatusOK, list)
}

// version is the one that a request is for. It has been answered where it is nil.
func (a *API) version(w http.ResponseWriter, r *http.Request) *Version {
	query := r.URL.Query()
	number, wait := 0, time.Duration(0)
	if text := query.Get("version"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			refuse(w, http.StatusBadRequest, "version=%.40q is not a number from 1", text)
			return nil
		}
		number = n
	}
	if text := query.Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if seconds, bad := strconv.Atoi(text); bad == nil {
			d, err = time.Duration(seconds)*time.Second, nil
		}
		if err != nil || d < 0 {
			refuse(w, http.StatusBadRequest, "wait=%.40q is not a time like 30s", text)
			return nil
		}
		wait = min(d, a.MaxWait)
	}
	v, changed, err := a.Store.Get(r.PathValue("name"), number)
	if err == nil && wait > 0 && number == 0 && matches(r.Header.Values("If-None-Match"), v) {
		if !a.await(w, r, changed, wait) {
			return nil
		}
		v, _, err = a.Store.Get(r.PathValue("name"), 0)
	}
	if err == nil && v.Deleted {
		w.Header().Set("ETag", v.ETag())
		err = errNotFound
	}
	if err != nil {
		a.fail(w, r, nil, err)
		return nil
	}
	w.Header().Set("ETag", v.ETag())
	w.Header().Set("X-Config-Version", strconv.Itoa(v.Number))
	w.Header().Set("Cache-Control", "no-cache") // keep it, and ask each time
	if matches(r.Header.Values("If-None-Match"), v) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return v
}

// await waits for a change; false where the request has been answered, or has nobody left to answer.
func (a *API) await(w http.ResponseWriter, r *http.Request, changed <-chan struct{}, wait time.Duration) bool {
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > int64(a.MaxWaiting) {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "%d readers wait already", a.MaxWaiting)
		return false
	}
	a.Metrics.waiting.Inc()
	defer a.Metrics.waiting.Dec()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-a.stopping:
	case <-r.Context().Done():
		return false
	}
	return true
}

// matches says whether one of a condition's tags is the version's. A weak one is not: the bytes are asked for.
func matches(header []string, v *Version) bool {
	for _, line := range header {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || v != nil && tag == v.ETag() {
				return true
			}
		}
	}
	return false
}

// allowed is the precondition of a change (RFC 9110, 13.1). Without one it is the last that wins.
func allowed(r *http.Request) func(*Version) bool {
	match, none := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	return func(v *Version) bool {
		if len(match) > 0 && (v == nil || !matches(match, v)) {
			return false
		}
		return len(none) == 0 || v == nil || !matches(none, v)
	}
}

func (a *API) get(w http.ResponseWriter, r *http.Request) {
	if v := a.version(w, r); v != nil {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(v.doc)))
		w.Write(v.doc)
	}
}

func (a *API) getFile(w http.ResponseWriter, r *http.Request) {
	v := a.version(w, r)
	if v == nil {
		return
	}
	text, ok := v.Files[r.PathValue("path")]
	if !ok {
		refuse(w, http.StatusNotFound, "version %d has no file %.80q", v.Number, r.PathValue("path"))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	io.WriteString(w, text)
}

// change makes a version and answers with it.
func (a *API) change(w http.ResponseWriter, r *http.Request, message string, build func(*Version) (Files, error)) {
	name := r.PathValue("name")
	v, changed, err := a.Store.Change(name, message, allowed(r), build)
	if err != nil {
		a.fail(w, r, v, err)
		return
	}
	code := http.StatusOK
	if changed {
		a.Metrics.changes.Inc()
		a.Log.Info("version made", "config", name, "version", v.Number, "files", len(v.Files), "bytes", v.size, "deleted", v.Deleted)
		if v.Number == 1 {
			code = http.StatusCreated
		}
	}
	w.Header().Set("ETag", v.ETag())
	answer(w, code, v.entry(name))
}

// body reads what a writer sends. JSON may take six bytes for one.
func (a *API) body(w http.ResponseWriter, r *http.Request, times int) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(a.Store.MaxSize*times+4096)))
	if err != nil {
		return nil, fmt.Errorf("%w: read the body: %w", errBad, err)
	}
	return text, nil
}

func (a *API) put(w http.ResponseWriter, r *http.Request) {
	text, err := a.body(w, r, 6)
	if err != nil {
		a.fail(w, r, nil, err)
		return
	}
	var in struct {
		Files   Files  `json:"files"`
		Message string `json:"message"`
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, `not {"files": {"NAME": "TEXT"}, "message": "…"}: %v`, err)
		return
	}
	if _, err := dec.Token(); err != io.EOF {
		refuse(w, http.StatusBadRequest, "there is more behind the JSON object")
		return
	}
	if len(in.Files) == 0 {
		refuse(w, http.StatusBadRequest, `"files" has no file; DELETE deletes a configuration`)
		return
	}
	a.change(w, r, clip(in.Message), func(*Version) (Files, error) { return in.Files, nil })
}

func (a *API) delete(w http.ResponseWriter, r *http.Request) {
	a.change(w, r, "deleted", func(*Version) (Files, error) { return nil, nil })
}

func (a *API) rollback(w http.ResponseWriter, r *http.Request) {
	to, err := strconv.Atoi(r.URL.Query().Get("to"))
	if err != nil || to <= 0 {
		refuse(w, http.StatusBadRequest, "rollback?to=VERSION: %.40q is none", r.URL.Query().Get("to"))
		return
	}
	a.change(w, r, fmt.Sprintf("back to version %d", to), func(*Version) (Files, error) {
		v, _, err := a.Store.Get(r.PathValue("name"), to)
		if err == nil && v.Deleted {
			err = fmt.Errorf("%w: in version %d it was deleted", errBad, to)
		}
		if err != nil {
			return nil, err
		}
		return v.Files, nil
	})
}

func (a *API) putFile(w http.ResponseWriter, r *http.Request) {
	text, err := a.body(w, r, 1)
	if err != nil {
		a.fail(w, r, nil, err)
		return
	}
	path := r.PathValue("path")
	a.change(w, r, "file "+clip(path), func(v *Version) (Files, error) {
		files := Files{path: string(text)}
		if v != nil {
			for other, text := range v.Files {
				if other != path {
					files[other] = text
				}
			}
		}
		return files, nil
	})
}

func (a *API) deleteFile(w http.ResponseWriter, r *http.Request) {
	path := r.PathValue("path")
	a.change(w, r, "without "+clip(path), func(v *Version) (Files, error) {
		if v == nil {
			return nil, errNotFound
		}
		if _, ok := v.Files[path]; !ok {
			return nil, errNotFound
		}
		files := Files{}
		for other, text := range v.Files {
			if other != path {
				files[other] = text
			}
		}
		return files, nil
	})
}

// clip bounds a message: each version has one.
func clip(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
