package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/follow"
)

// HTTP sends batches as requests: as JSON lines, or as OTLP. Each has a key (draft-ietf-httpapi-idempotency-key-header), which
// is the same when the same lines are sent again.
type HTTP struct {
	Client  *http.Client
	URL     string
	OTLP    bool
	Gzip    bool
	Token   string
	Host    string
	Service string
	Reject  func(lines int64, why string) // what an OTLP receiver says that it did not take

	packed bytes.Buffer
	text   []byte
	zip    *gzip.Writer
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// newClient follows no redirect: it would lead the lines, and the token, somewhere that nobody has set.
func newClient(t *http.Transport) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Send is one request. The answer's status decides: 2xx is an acknowledgement.
func (h *HTTP) Send(ctx context.Context, records []follow.Record) error {
	body, err := h.encode(records)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if h.OTLP {
		req.Header.Set("Content-Type", "application/json")
	}
	if h.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	req.Header.Set("Idempotency-Key", strconv.Quote(follow.Key(records)))
	req.Header.Set("User-Agent", "log-shipper")
	if h.Token != "" {
		req.Header.Set("Authorization", "Bearer "+h.Token)
	}
	res, err := h.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil && res.StatusCode/100 == 2 {
		return fmt.Errorf("acknowledgement: %w", err)
	}
	return h.judge(res, answer)
}

func (h *HTTP) encode(records []follow.Record) ([]byte, error) {
	if h.OTLP {
		h.text = appendOTLP(h.text[:0], records, h.Host, h.Service, time.Now())
	} else {
		h.text = h.text[:0]
		for i := range records {
			h.text = appendRecord(h.text, &records[i], h.Host, h.Service)
		}
	}
	if !h.Gzip {
		return h.text, nil
	}
	h.packed.Reset()
	if h.zip == nil {
		h.zip, _ = gzip.NewWriterLevel(&h.packed, gzip.BestSpeed) // the level is one of its own
	} else {
		h.zip.Reset(&h.packed)
	}
	if _, err := h.zip.Write(h.text); err != nil {
		return nil, err
	}
	if err := h.zip.Close(); err != nil {
		return nil, err
	}
	return h.packed.Bytes(), nil
}

// judge turns an answer into what to do. Only answers that say that these lines are wrong give them up; a wrong token or
// address is put right by somebody, and the lines wait in their files.
func (h *HTTP) judge(res *http.Response, answer []byte) error {
	err := fmt.Errorf("%s: %s", res.Status, firstLine(answer))
	switch {
	case res.StatusCode/100 == 2:
		if h.OTLP {
			return h.partial(answer)
		}
		return nil
	case res.StatusCode == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %w", errTooLarge, err)
	case res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", errRejected, err)
	}
	if after, ok := parseRetryAfter(res.Header.Get("Retry-After"), time.Now()); ok {
		return retryAfter{err, after}
	}
	return err
}

// partial reads what an OTLP receiver did not take. It must not be sent again (OTLP, Partial Success).
func (h *HTTP) partial(answer []byte) error {
	var said struct {
		PartialSuccess struct {
			Rejected json.Number `json:"rejectedLogRecords"`
			Message  string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if len(answer) == 0 || json.Unmarshal(answer, &said) != nil {
		return nil // acknowledged, in whatever words
	}
	if n, err := said.PartialSuccess.Rejected.Int64(); err == nil && n > 0 {
		h.Reject(n, said.PartialSuccess.Message)
	}
	return nil
}

// parseRetryAfter reads seconds or a date (RFC 9110, 10.2.3).
func parseRetryAfter(text string, now time.Time) (time.Duration, bool) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text[:min(len(text), 200)])), "\n")
	return line
}

// Close ends the connections.
func (h *HTTP) Close() { h.Client.CloseIdleConnections() }
