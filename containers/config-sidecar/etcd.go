package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Etcd is the keys below a prefix, a file each. It speaks the JSON gateway that every etcd since 3.4 serves beside gRPC,
// because the client with gRPC alone is larger than this whole program.
//
// A set is one range, which etcd answers as of one revision: keys that were put in one transaction are seen together.
// The watch only tells that there is something to read. So nothing can be missed: not what a compaction takes out of
// the history, nor an event that a server drops (etcd 18089, 19179); at the latest after Wait it is read again.
// Source: https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
type Etcd struct {
	Endpoints []string // http://host:port, tried in turn
	Prefix    string
	Client    *http.Client
	Wait      time.Duration
	Timeout   time.Duration
	Limits    Limits

	at int // of the endpoint that answered last
}

// Next reads the keys, after an event if the revision of the last read is known.
func (e *Etcd) Next(ctx context.Context, known string) (Set, error) {
	if revision, err := strconv.ParseInt(known, 10, 64); err == nil {
		if err := e.watch(ctx, revision+1); err != nil {
			e.at++
			return Set{}, err
		}
		select { // one change seldom comes alone, and a busy prefix is not read for each
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	set, err := e.read(ctx)
	if err != nil {
		e.at++
	}
	return set, err
}

func (e *Etcd) endpoint() string { return e.Endpoints[e.at%len(e.Endpoints)] }

// keys are the prefix and the first key behind all that begin with it, as the gateway has them.
func (e *Etcd) keys() (from, to string) {
	end := []byte(e.Prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			end = end[:i+1]
			break
		}
	}
	return base64.StdEncoding.EncodeToString([]byte(e.Prefix)), base64.StdEncoding.EncodeToString(end)
}

// read is all keys as of one revision.
func (e *Etcd) read(ctx context.Context) (Set, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.Timeout, fmt.Errorf("no whole answer within %v", e.Timeout))
	defer cancel()
	from, to := e.keys()
	resp, err := e.post(ctx, "/v3/kv/range", map[string]any{"key": from, "range_end": to, "limit": e.Limits.Files + 1})
	if err != nil {
		return Set{}, cause(ctx, err)
	}
	defer resp.Body.Close()
	// Base64 takes four bytes for three, and each key has some numbers.
	most := int64(e.Limits.Size)*3/2 + int64(e.Limits.Files)*512 + 4096
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return Set{}, cause(ctx, fmt.Errorf("half an answer: %d bytes, then %w", len(body), short(err)))
	}
	if int64(len(body)) > most {
		return Set{}, fmt.Errorf("an answer of more than %d bytes", most)
	}
	return e.parse(body)
}

// parse reads the answer to a range. Numbers are texts, and what is zero is not there.
func (e *Etcd) parse(body []byte) (Set, error) {
	var doc struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
		KVs []struct {
			Key   []byte `json:"key"`
			Value []byte `json:"value"`
		} `json:"kvs"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return Set{}, fmt.Errorf("not an answer of etcd's: %w: %s", err, line(string(body), 80))
	}
	if _, err := strconv.ParseInt(doc.Header.Revision, 10, 64); err != nil {
		return Set{}, fmt.Errorf("not an answer of etcd's: no revision: %s", line(string(body), 80))
	}
	set := Set{Files: Files{}, Tag: doc.Header.Revision, Version: "revision " + doc.Header.Revision}
	for _, kv := range doc.KVs {
		name, ok := strings.CutPrefix(string(kv.Key), e.Prefix)
		if !ok {
			return Set{}, fmt.Errorf("a key that was not asked for: %.80q", kv.Key)
		}
		set.Files[name] = string(kv.Value)
	}
	if len(set.Files) == 0 {
		return Set{}, fmt.Errorf("no key begins with %s", e.Prefix)
	}
	return set, e.Limits.check(set.Files)
}

// errQuiet ends a watch that has seen nothing.
var errQuiet = errors.New("nothing for a while")

// watch returns at the first event from that revision on, when the history does not go back that far any more, and
// after Wait. Only an etcd that does not answer is an error.
func (e *Etcd) watch(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.Wait, errQuiet)
	defer cancel()
	opening, opened := context.WithTimeoutCause(ctx, e.Timeout, fmt.Errorf("no watch within %v", e.Timeout))
	defer opened()
	// The stream lives in ctx; until it is open, opening ends it too.
	stream, end := context.WithCancelCause(ctx)
	defer end(nil)
	stop := context.AfterFunc(opening, func() { end(context.Cause(opening)) })
	defer stop()
	from, to := e.keys()
	resp, err := e.post(stream, "/v3/watch", map[string]any{
		"create_request": map[string]any{"key": from, "range_end": to, "start_revision": strconv.FormatInt(revision, 10)},
	})
	if err != nil {
		return quiet(stream, err)
	}
	defer resp.Body.Close()
	// What the events are does not matter. A stream of too much is one that has told enough.
	answers := json.NewDecoder(io.LimitReader(resp.Body, int64(e.Limits.Size)*2+64<<10))
	for {
		var message struct {
			Result *struct {
				Created  bool              `json:"created"`
				Canceled bool              `json:"canceled"` // compacted, say
				Events   []json.RawMessage `json:"events"`
			} `json:"result"`
			Error json.RawMessage `json:"error"`
		}
		err := answers.Decode(&message)
		switch {
		case err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && stream.Err() == nil:
			return nil // cut, by a restart or by us: the read shows whether it is well
		case err != nil:
			return quiet(stream, err)
		case message.Error != nil || message.Result == nil:
			return fmt.Errorf("watch: %s", line(string(message.Error), 200))
		case message.Result.Canceled || len(message.Result.Events) > 0:
			return nil
		}
		stop() // it is open
	}
}

func (e *Etcd) post(ctx context.Context, path string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.endpoint()+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.Client.Do(req)
	if err != nil {
		return nil, short(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, fmt.Errorf("%s: %s", resp.Status, line(string(said), 200))
	}
	return resp, nil
}

// quiet makes no error of a watch that has seen nothing for long enough.
func quiet(ctx context.Context, err error) error {
	if err = cause(ctx, err); errors.Is(err, errQuiet) {
		return nil
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
