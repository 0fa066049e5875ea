package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Compare compares the mirror's answers, the candidate's, with those of one
// arm, the primary: status, type and body, a JSON body field by field. What
// differs from one answer to the next anyway (times, identifiers) is noise: it
// is measured on a second copy of the primary, which gets the same requests,
// and subtracted.
//
// Source: Twitter's diffy (https://github.com/opendiffy/diffy), its thresholds
// too.
type Compare struct {
	Arm       string // the primary
	Noise     string // host:port of its second copy; "": all differences count
	BodyLimit int    // longer bodies are not compared
	Ignore    map[string]bool
	Transport http.RoundTripper // to Noise
	Metrics   *Metrics

	mu     sync.Mutex // guards the following
	total  int
	fields map[string]*difference
}

// difference counts how often a field differed.
type difference struct{ raw, noise int }

// maxFields bounds what is kept: an answer whose field names never come twice
// must not fill the memory.
const maxFields = 1000

const otherFields = "(others)"

// page is an answer that was read.
type page struct {
	status int
	kind   string // media type
	body   []byte
}

var errTooLong = errors.New("the body is too long to compare")

// capture is the primary's answer as the client gets it.
type capture struct {
	page
	limit   int
	failed  bool
	done    chan struct{}
	ended   sync.Once
	encoded string
}

// answered begins the capture; what the client reads of the answer goes into
// it as well.
func (s *shadow) answered(arm *Arm, resp *http.Response) {
	if s == nil || s.mirror.Compare == nil {
		return
	}
	c := &s.primary
	if arm.Name != s.mirror.Compare.Arm {
		c.end(false)
		return
	}
	c.status, c.kind, c.encoded = resp.StatusCode, mediaType(resp.Header), resp.Header.Get("Content-Encoding")
	c.limit = s.mirror.Compare.BodyLimit
	resp.Body = &captured{resp.Body, c}
}

type captured struct {
	io.ReadCloser
	c *capture
}

// Read has one caller at a time, the copy to the client; once the capture has
// ended, it is not touched again.
func (b *captured) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.c.failed {
		if len(b.c.body)+n > b.c.limit {
			b.c.failed, b.c.body = true, nil
		} else {
			b.c.body = append(b.c.body, p[:n]...)
		}
	}
	if err != nil {
		b.c.end(err == io.EOF)
	}
	return n, err
}

func (b *captured) Close() error {
	b.c.end(false) // not, if it has ended
	return b.ReadCloser.Close()
}

func (c *capture) end(good bool) {
	c.ended.Do(func() {
		c.failed = c.failed || !good
		close(c.done)
	})
}

func (c *capture) read() (page, error) {
	if c.failed {
		return page{}, errTooLong
	}
	body, err := decoded(c.body, c.encoded, c.limit)
	return page{c.status, c.kind, body}, err
}

func mediaType(h http.Header) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// decoded undoes gzip; other encodings are compared as they are.
func decoded(body []byte, encoding string, limit int) ([]byte, error) {
	if encoding != "gzip" || len(body) == 0 {
		return body, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return readWithin(z, limit)
}

func readWithin(r io.Reader, limit int) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(body) > limit {
		err = errTooLong
	}
	return body, err
}

func (c *Compare) read(resp *http.Response) (page, error) {
	body, err := readWithin(resp.Body, c.BodyLimit)
	if err == nil {
		body, err = decoded(body, resp.Header.Get("Content-Encoding"), c.BodyLimit)
	}
	return page{resp.StatusCode, mediaType(resp.Header), body}, err
}

// candidate reads the mirror's answer, asks the noise's, waits for the end of
// the primary's, and counts.
func (c *Compare) candidate(ctx context.Context, s *shadow, req *http.Request, body []byte, resp *http.Response) {
	candidate, err := c.read(resp)
	noise, noiseErr := page{}, error(nil)
	if c.Noise != "" {
		noise, noiseErr = c.askNoise(ctx, req, body)
	}
	select {
	case <-s.primary.done:
	case <-ctx.Done():
		c.count("incomparable")
		return
	}
	primary, primaryErr := s.primary.read()
	if errors.Join(err, noiseErr, primaryErr) != nil {
		c.count("incomparable")
		return
	}
	if c.Noise == "" {
		noise = primary
	}
	c.count(c.add(differences(primary, candidate), differences(primary, noise)))
}

func (c *Compare) count(result string) { c.Metrics.compared.WithLabelValues(result).Inc() }

func (c *Compare) askNoise(ctx context.Context, req *http.Request, body []byte) (page, error) {
	again := req.Clone(ctx)
	again.URL.Host = c.Noise
	again.Body = nil
	if len(body) > 0 {
		again.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := c.Transport.RoundTrip(again)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	return c.read(resp)
}

// add counts one comparison; the result is a label.
func (c *Compare) add(raw, noise map[string]bool) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fields == nil {
		c.fields = make(map[string]*difference)
	}
	c.total++
	for name := range noise {
		if !c.ignored(name) {
			c.field(name).noise++
		}
	}
	result := "same"
	for name := range raw {
		if c.ignored(name) {
			continue
		}
		d := c.field(name)
		d.raw++
		switch {
		case c.real(d):
			result = "different"
		case result == "same":
			result = "noise"
		}
	}
	return result
}

func (c *Compare) ignored(name string) bool {
	for ; name != ""; name = name[:max(0, strings.LastIndexByte(name, '.'))] {
		if c.Ignore[name] {
			return true
		}
	}
	return false
}

// field is the count of a name; the caller holds mu.
func (c *Compare) field(name string) *difference {
	d := c.fields[name]
	if d == nil && len(c.fields) >= maxFields {
		name = otherFields
		d = c.fields[name]
	}
	if d == nil {
		d = &difference{}
		c.fields[name] = d
	}
	return d
}

// diffy's thresholds, in percent.
const (
	relativeThreshold = 20.0
	absoluteThreshold = 0.03
)

// relative is how much more often the candidate differs than the noise does,
// of all differences; absolute, of all comparisons.
func (c *Compare) relative(d *difference) float64 {
	return math.Max(0, float64(d.raw-d.noise)) / float64(d.raw+d.noise) * 100
}

func (c *Compare) absolute(d *difference) float64 {
	return math.Max(0, float64(d.raw-d.noise)) / float64(c.total) * 100
}

func (c *Compare) real(d *difference) bool {
	return c.relative(d) > relativeThreshold && c.absolute(d) > absoluteThreshold
}

// Differences is /differences.
type Differences struct {
	Comparisons int         `json:"comparisons"`
	Fields      []Different `json:"fields"` // those that differ in earnest first
}

// Different is one field that has differed.
type Different struct {
	Field    string  `json:"field"`
	Real     bool    `json:"real"` // not noise
	Raw      int     `json:"candidate_differs"`
	Noise    int     `json:"noise_differs"`
	Relative float64 `json:"relative_percent"`
	Absolute float64 `json:"absolute_percent"`
}

// Differences are all so far.
func (c *Compare) Differences() Differences {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := Differences{Comparisons: c.total, Fields: []Different{}}
	for name, d := range c.fields {
		list.Fields = append(list.Fields, Different{name, c.real(d), d.raw, d.noise, c.relative(d), c.absolute(d)})
	}
	slices.SortFunc(list.Fields, func(a, b Different) int {
		switch {
		case a.Real != b.Real && a.Real:
			return -1
		case a.Real != b.Real:
			return 1
		case a.Raw != b.Raw:
			return b.Raw - a.Raw
		}
		return strings.Compare(a.Field, b.Field)
	})
	return list
}
