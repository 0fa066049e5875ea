package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// maxEchoed is the largest body that is shown and not only counted.
const maxEchoed = 4 << 10

// Echo is what reached the app, nothing interpreted: behind a proxy Remote is
// the proxy.
type Echo struct {
	Method           string              `json:"method"`
	Target           string              `json:"target"` // as on the request line
	Path             string              `json:"path"`
	Query            string              `json:"query"`
	Proto            string              `json:"proto"`
	Host             string              `json:"host"`
	Remote           string              `json:"remote"`
	Headers          map[string][]string `json:"headers"`
	TransferEncoding []string            `json:"transfer_encoding"`
	ContentLength    int64               `json:"content_length"` // declared; -1 if not
	Trailers         map[string][]string `json:"trailers"`
	Length           int64               `json:"length"` // received
	SHA256           string              `json:"sha256"`
	Body             string              `json:"body"` // only of small texts
}

// echo answers any method with what it received. The body is read to its end
// and hashed on the way, so its size does not matter.
func (a *App) echo(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	head := &headOf{max: maxEchoed}
	n, err := io.Copy(io.MultiWriter(hash, head), r.Body)
	if err != nil {
		http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
		return
	}
	e := Echo{
		Method:           r.Method,
		Target:           r.RequestURI,
		Path:             r.URL.Path,
		Query:            r.URL.RawQuery,
		Proto:            r.Proto,
		Host:             r.Host,
		Remote:           r.RemoteAddr,
		Headers:          r.Header,
		TransferEncoding: append([]string{}, r.TransferEncoding...),
		ContentLength:    r.ContentLength,
		Trailers:         http.Header{},
		Length:           n,
		SHA256:           hex.EncodeToString(hash.Sum(nil)),
	}
	if r.Trailer != nil {
		e.Trailers = r.Trailer
	}
	if n <= maxEchoed && isText(head.text) {
		e.Body = string(head.text)
	}
	writeJSON(w, e)
}

func isText(b []byte) bool {
	return utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r)
	})
}

// headOf keeps the first max bytes written to it.
type headOf struct {
	text []byte
	max  int
}

func (h *headOf) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), h.max-len(h.text))]...)
	return len(p), nil
}

// maxMessage is the largest WebSocket message that is sent back.
const maxMessage = 64 << 10

// ws sends every message back until the client closes, or until the app
// stops: then it closes with "going away".
func (a *App) ws(w http.ResponseWriter, r *http.Request) {
	// Before the handshake: from then on http.Server no longer waits.
	a.sockets.Add(1)
	defer a.sockets.Done()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxMessage)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-a.stopping:
			conn.Close(websocket.StatusGoingAway, "closing time")
		case <-done:
		}
	}()
	for {
		kind, msg, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, msg); err != nil {
			return
		}
	}
}
