package main

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Handler answers /livez and /readyz, and / as /readyz, which is what older checkers ask. GET, HEAD and, as HAProxy's
// httpchk has it by default, OPTIONS are the same question.
func (c *Checks) Handler(m *metrics) http.Handler {
	mux := http.NewServeMux()
	for _, method := range []string{"GET", "OPTIONS"} { // GET takes HEAD, too
		mux.Handle(method+" /livez", c.endpoint(c.Live, m))
		mux.Handle(method+" /readyz", c.endpoint(c.Ready, m))
		mux.Handle(method+" /{$}", c.endpoint(c.Ready, m))
	}
	return mux
}

func (c *Checks) endpoint(h *Health, m *metrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asJSON, err := wantsJSON(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a := c.Ask(r.Context(), h)
		code := http.StatusServiceUnavailable
		if a.OK {
			code = http.StatusOK
		}
		m.answered(h.Name, strconv.Itoa(code), a.Cached)
		header := w.Header()
		header.Set("Cache-Control", "no-store") // the adapter's cache knows when its result is old
		header.Set("Vary", "Accept")
		body := a.text()
		header.Set("Content-Type", "text/plain; charset=utf-8")
		if asJSON {
			header.Set("Content-Type", "application/json")
			body, err = json.Marshal(a)
			if err != nil {
				http.Error(w, "cannot be said", http.StatusInternalServerError)
				return
			}
			body = append(body, '\n')
		}
		header.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(code)
		if r.Method != http.MethodHead {
			w.Write(body)
		}
	})
}

// text is a word in the first line, for scripts, and the rest for people.
func (a Answer) text() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", a.Status)
	if a.Reason != "" {
		fmt.Fprintf(&b, "reason: %s\n", a.Reason)
	}
	fmt.Fprintf(&b, "age: %.3fs\n", a.Age)
	if a.Lag != nil {
		fmt.Fprintf(&b, "lag: %gs\n", *a.Lag)
	}
	return []byte(b.String())
}

// wantsJSON reads ?format=, else Accept. Who says nothing, or likes both, gets text.
func wantsJSON(r *http.Request) (bool, error) {
	switch format := r.URL.Query().Get("format"); format {
	case "":
		return prefersJSON(strings.Join(r.Header.Values("Accept"), ",")), nil
	case "json":
		return true, nil
	case "text":
		return false, nil
	default:
		return false, fmt.Errorf("format is json or text")
	}
}

// prefersJSON: JSON is liked better than plain text. Source: RFC 9110, section 12.5.1.
func prefersJSON(accept string) bool {
	return liking(accept, "application", "json") > liking(accept, "text", "plain")
}

// liking is the weight of a media type: that of the range that names it most closely.
func liking(accept, kind, sub string) float64 {
	best, weight := -1, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		close := 0
		switch media {
		case kind + "/" + sub:
			close = 2
		case kind + "/*":
			close = 1
		case "*/*":
		default:
			continue
		}
		q := 1.0
		if text, said := params["q"]; said {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		if close > best {
			best, weight = close, q
		}
	}
	return weight
}
