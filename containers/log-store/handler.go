package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Server takes batches, and answers who asks for records.
type Server struct {
	Store   *Store
	Faults  *Faults
	MaxBody int64 // bytes of a batch, unpacked
	Log     *slog.Logger
	Metrics *metrics
}

// maxConns bounds connections: each may hold a batch in memory.
const maxConns = 64

// HTTP is the server. A client that is slow costs its own connection only.
func (s *Server) HTTP() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /logs", s.take)
	mux.HandleFunc("GET /records", s.records)
	mux.HandleFunc("GET /sources", s.sources)
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 60 * time.Second,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
}

// take is POST /logs: JSON lines, packed or not. 200 says that every line is on the disk, or was before.
func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	fault, change := s.Faults.take()
	switch fault.Mode {
	case "refuse": // new connections never get here; one that was open is cut, or it would be served for ever
		panic(http.ErrAbortHandler)
	case "hang":
		select {
		case <-change:
		case <-r.Context().Done():
		case <-time.After(hangFor):
		}
		panic(http.ErrAbortHandler)
	case "error":
		http.Error(w, "told to fail", http.StatusInternalServerError)
		return
	case "busy":
		w.Header().Set("Retry-After", strconv.Itoa(fault.RetryAfter))
		http.Error(w, "told to be busy", http.StatusTooManyRequests)
		return
	}
	records, err := s.parse(r)
	if err != nil {
		s.Metrics.batches.WithLabelValues("refused").Inc()
		code := http.StatusBadRequest
		if errors.Is(err, errTooLarge) {
			code = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), code)
		return
	}
	added, repeats, err := s.Store.Add(records)
	if err != nil {
		s.Metrics.batches.WithLabelValues("failed").Inc()
		s.Log.Error("not kept", "error", err)
		http.Error(w, "not kept", http.StatusInsufficientStorage)
		return
	}
	if added == 0 && repeats > 0 {
		s.Metrics.batches.WithLabelValues("repeated").Inc()
	} else {
		s.Metrics.batches.WithLabelValues("kept").Inc()
	}
	if fault.Mode == "cut" {
		panic(http.ErrAbortHandler) // kept, and nobody is told
	}
	s.Log.Debug("kept", "records", added, "repeats", repeats, "key", r.Header.Get("Idempotency-Key"))
	writeJSON(w, map[string]int{"added": added, "repeats": repeats})
}

func (s *Server) parse(r *http.Request) ([]Record, error) {
	body := io.Reader(http.MaxBytesReader(nil, r.Body, s.MaxBody))
	if r.Header.Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		body = zip
	}
	records, err := parse(body, s.MaxBody)
	if _, is := errors.AsType[*http.MaxBytesError](err); is {
		err = errTooLarge
	}
	return records, err
}

// maxRecords is how many records one question gets.
const maxRecords = 100_000

// records is GET /records?source=/logs/app.log&after=17&limit=100.
func (s *Server) records(w http.ResponseWriter, r *http.Request) {
	after, limit := uint64(0), uint64(1000)
	for name, into := range map[string]*uint64{"after": &after, "limit": &limit} {
		if text := r.FormValue(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 62)
			if err != nil {
				http.Error(w, name+": not a number", http.StatusBadRequest)
				return
			}
			*into = n
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := bufio.NewWriterSize(w, 64<<10)
	if err := s.Store.Read(out, r.FormValue("source"), int64(after), int(min(limit, maxRecords))); err != nil {
		s.Log.Error("read", "error", err)
		panic(http.ErrAbortHandler) // a shorter answer would look whole
	}
	out.Flush()
}

// counts is what GET /sources and /status show.
type counts struct {
	LastID  int64             `json:"last_id"`
	Fault   string            `json:"fault"`
	Struck  map[string]int    `json:"struck"`
	Sources map[string]Source `json:"sources"`
	Streams map[string]Stream `json:"streams"`
}

func (s *Server) counts() counts {
	c := counts{}
	c.Sources, c.Streams, c.LastID = s.Store.Counts()
	c.Fault, c.Struck = s.Faults.Status()
	return c
}

func (s *Server) sources(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.counts()) }

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
