package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// HTTP is a configuration behind a URL. Each request carries the tag of what is known, and asks the server to wait for
// another (?wait=30s); one that does not know of waiting answers at once, and is asked again after Poll.
type HTTP struct {
	URL     url.URL
	Client  *http.Client
	Token   string        // bearer; empty for none
	File    string        // the name of the one file that the body is; empty: the body is JSON
	Wait    time.Duration // for the next version
	Poll    time.Duration // between two requests of a server that does not wait
	Timeout time.Duration // for an answer, beyond Wait
	Limits  Limits

	idle time.Duration // until the next request, where the last was answered at once
}

// Next asks once.
func (h *HTTP) Next(ctx context.Context, known string) (Set, error) {
	if known != "" && h.idle > 0 {
		timer := time.NewTimer(h.idle)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return Set{}, context.Cause(ctx)
		}
	}
	ask, patience := h.URL, h.Timeout
	if known != "" {
		query := ask.Query()
		query.Set("wait", h.Wait.String())
		ask.RawQuery = query.Encode()
		patience += h.Wait
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no whole answer within %v", patience))
	defer cancel()
	begun := time.Now()
	set, err := h.ask(ctx, ask.String(), known)
	if err != nil && !errors.Is(err, errSame) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	h.idle = 0
	if took := time.Since(begun); known != "" && (errors.Is(err, errSame) || err == nil && set.Tag == known) && took < min(h.Wait/2, h.Poll) {
		h.idle = h.Poll - took
	}
	return set, err
}

func (h *HTTP) ask(ctx context.Context, where, known string) (Set, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return Set{}, err
	}
	if h.Token != "" {
		req.Header.Set("Authorization", "Bearer "+h.Token)
	}
	if known != "" {
		req.Header.Set("If-None-Match", known)
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return Set{}, short(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return Set{}, errSame
	}
	// JSON may take six bytes for one.
	most := int64(h.Limits.Size)*6 + 4096
	if resp.ContentLength > most {
		return Set{}, fmt.Errorf("an answer of %d bytes, the most is %d", resp.ContentLength, most)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return Set{}, fmt.Errorf("half an answer: %d bytes, then %w", len(body), short(err))
	}
	if int64(len(body)) > most {
		return Set{}, fmt.Errorf("an answer of more than %d bytes", most)
	}
	if resp.StatusCode != http.StatusOK {
		return Set{}, fmt.Errorf("%s: %s", resp.Status, line(string(body), 200))
	}
	return h.parse(body, resp.Header)
}

// parse makes a set of an answer.
func (h *HTTP) parse(body []byte, header http.Header) (set Set, err error) {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if h.File != "" {
		set.Files = Files{h.File: string(body)}
		set.Version = header.Get("X-Config-Version")
	} else {
		var doc struct {
			Version json.RawMessage `json:"version"`
			Files   Files           `json:"files"`
		}
		if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &doc); err != nil {
			return Set{}, fmt.Errorf(`not JSON like {"version": 7, "files": {"NAME": "TEXT"}} but %s: %w: %s`, kind, err, line(string(body), 80))
		}
		set.Files, set.Version = doc.Files, string(bytes.Trim(doc.Version, `"`))
	}
	if set.Tag = header.Get("ETag"); set.Tag == "" {
		set.Tag = strconv.Quote(set.Digest()) // it cannot match, and tells this set from others all the same
	}
	if set.Version == "" || set.Version == "null" {
		set.Version = set.Digest()[:12]
	}
	set.Version = line(set.Version, 40)
	return set, h.Limits.check(set.Files)
}

// short leaves out what the reader knows: method and URL, and where the connection came from.
func short(err error) error {
	if u := new(url.Error); errors.As(err, &u) {
		err = u.Err
	}
	if op := new(net.OpError); errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("dial %v: %w", op.Addr, op.Err)
	}
	return err
}

// cause is why a request was ended, if it was.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
