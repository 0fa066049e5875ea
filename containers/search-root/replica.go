package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// replica is a leaf as one shard's: how long a search takes it is each shard's own.
type replica struct {
	*leaf
	times latencies
}

// leaf is one of which some shards have a replica. Where one shard finds that it fails, the others need not.
type leaf struct {
	addr  string
	avoid atomic.Int64 // until then it is asked last, in nanoseconds since 1970; 0: it is well
	lost  atomic.Int64 // times in a row that another was quicker
}

// lostMost is how often in a row a leaf may be the slower one before it counts as failed: one that is frozen never
// fails.
const lostMost = 3

// Query, Hit and Answer are what search-leaf's README describes.
type Query struct {
	Words       []string `json:"words"`
	All         bool     `json:"all,omitempty"`
	K           int      `json:"k"`
	Documents   int      `json:"documents,omitempty"`
	Length      int64    `json:"length,omitempty"`
	In          []int    `json:"in,omitempty"`
	DragMicros  int      `json:"drag_us,omitempty"`
	DelayMillis int      `json:"delay_ms,omitempty"`
}

// Hit is a document that a leaf has found.
type Hit struct {
	ID    string  `json:"id"`
	Score float64 `json:"score"`
	Shard int     `json:"shard"`
	Text  string  `json:"text"`
}

// LeafAnswer is a leaf's.
type LeafAnswer struct {
	Shard     int    `json:"shard"`
	Version   string `json:"version"`
	Documents int    `json:"documents"`
	Matched   int    `json:"matched"`
	Hits      []Hit  `json:"hits"`
	Scanned   int    `json:"scanned"`
	Slowed    bool   `json:"slowed"`
}

// Statistics are a shard's.
type Statistics struct {
	Shard     int            `json:"shard"`
	Version   string         `json:"version"`
	Documents int            `json:"documents"`
	Length    int64          `json:"length"`
	Words     map[string]int `json:"words"`
}

// What a leaf may send.
const (
	largestAnswer     = 16 << 20
	largestStatistics = 256 << 20
	longestVersion    = 128
)

// errLate says that a leaf had no time to do it.
var errLate = errors.New("the leaf had no time left")

// timeoutHeader is search-leaf's.
const timeoutHeader = "Search-Timeout"

// search asks a leaf. What it says is held to what was asked: a leaf of another collection must not spoil the answer.
func (r *replica) search(
	ctx context.Context, client *http.Client, shard int, body []byte, k int, propagate bool,
) (*LeafAnswer, error) {
	url := fmt.Sprintf("http://%s/shards/%d/search", r.addr, shard)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if deadline, ok := ctx.Deadline(); ok && propagate {
		left := time.Until(deadline).Milliseconds()
		if left <= 0 {
			return nil, context.DeadlineExceeded
		}
		req.Header.Set(timeoutHeader, strconv.FormatInt(left, 10))
	}
	text, code, err := fetch(client, req, largestAnswer)
	switch {
	case err != nil:
		return nil, err
	case code == http.StatusGatewayTimeout:
		return nil, errLate
	case code != http.StatusOK:
		return nil, fmt.Errorf("%s: %d %.100q", r.addr, code, bytes.TrimSpace(text))
	}
	a, err := parseAnswer(text, shard, k)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.addr, err)
	}
	return a, nil
}

// parseAnswer reads what a leaf has sent for a search.
func parseAnswer(text []byte, shard, k int) (*LeafAnswer, error) {
	a := &LeafAnswer{Shard: -1}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, err
	}
	switch {
	case a.Shard != shard:
		return nil, fmt.Errorf("an answer of shard %d for shard %d", a.Shard, shard)
	case a.Version == "" || len(a.Version) > longestVersion:
		return nil, fmt.Errorf("version %.40q", a.Version)
	case len(a.Hits) > k || len(a.Hits) > a.Matched || a.Matched > a.Documents:
		return nil, fmt.Errorf("%d hits of %d that match of %d, where %d were asked for",
			len(a.Hits), a.Matched, a.Documents, k)
	}
	for i := range a.Hits {
		h := &a.Hits[i]
		h.Shard = shard
		if math.IsNaN(h.Score) || math.IsInf(h.Score, 0) || h.ID == "" {
			return nil, fmt.Errorf("hit %d has no ID, or no score", i)
		}
		if i > 0 && better(a.Hits[i-1], *h) >= 0 {
			return nil, fmt.Errorf("hit %d is not in order", i)
		}
	}
	return a, nil
}

// statistics asks a leaf for a shard's, unless they are those that are known: nil then.
func (r *replica) statistics(ctx context.Context, client *http.Client, shard int, known string) (*Statistics, error) {
	url := fmt.Sprintf("http://%s/shards/%d/statistics", r.addr, shard)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if known != "" {
		req.Header.Set("If-None-Match", `"`+known+`"`)
	}
	text, code, err := fetch(client, req, largestStatistics)
	switch {
	case err != nil:
		return nil, err
	case code == http.StatusNotModified && known != "":
		return nil, nil
	case code != http.StatusOK:
		return nil, fmt.Errorf("%s: %d %.100q", r.addr, code, bytes.TrimSpace(text))
	}
	s, err := parseStatistics(text, shard)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.addr, err)
	}
	return s, nil
}

// parseStatistics reads what a leaf has sent of a shard.
func parseStatistics(text []byte, shard int) (*Statistics, error) {
	s := &Statistics{Shard: -1}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	switch {
	case s.Shard != shard:
		return nil, fmt.Errorf("statistics of shard %d for shard %d", s.Shard, shard)
	case s.Version == "" || len(s.Version) > longestVersion:
		return nil, fmt.Errorf("version %.40q", s.Version)
	case s.Documents < 0 || s.Length < 0 || s.Documents > math.MaxInt32 || s.Length > 1<<50:
		return nil, fmt.Errorf("%d documents of %d words", s.Documents, s.Length)
	}
	for w, n := range s.Words {
		if n < 0 || n > s.Documents {
			return nil, fmt.Errorf("word %.40q in %d of %d documents", w, n, s.Documents)
		}
	}
	return s, nil
}

// fetch sends a request and reads a bounded answer.
func fetch(client *http.Client, req *http.Request, most int64) ([]byte, int, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return nil, 0, err
	}
	if int64(len(text)) > most {
		return nil, 0, fmt.Errorf("%s sends more than %d bytes", req.URL.Host, most)
	}
	return text, res.StatusCode, nil
}
