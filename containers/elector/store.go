package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"distlab/containers/internal/etcd"
)

// Store is the election's key in etcd. Its value says who the owner is, its lease how long, and the revision in which it
// was made is the owner's token: etcd never gives a number twice, nor a lower one later.
type Store struct {
	Key    string
	Client *etcd.Client // for leases and the watch

	at atomic.Int64 // of the endpoint that answered last
}

// Holder is who has the key.
type Holder struct {
	ID      string `json:"id"`
	Address string `json:"address,omitempty"`
	Term    string `json:"term,omitempty"` // of the owner's life: its lease's ID
	Token   int64  `json:"token,omitempty"`

	lease    string
	revision int64 // of the whole store, when it was read
}

// value is what others read of a holder: not the token, which is not known before it is written.
func value(id, address, lease string) []byte {
	text, err := json.Marshal(Holder{ID: id, Address: address, Term: lease})
	if err != nil {
		panic(err) // texts
	}
	return text
}

// Holder asks who has the key; one without an ID is nobody. The answer is that of the whole cluster, never an old one.
func (s *Store) Holder(ctx context.Context) (Holder, error) {
	var body json.RawMessage
	if err := s.call(ctx, "/v3/kv/range", map[string]any{"key": []byte(s.Key)}, &body); err != nil {
		return Holder{}, err
	}
	return parseRange(body, s.Key)
}

// Take writes the key, bound to the lease, if nobody has it. What it says is who has it now, which may be this lease from
// an earlier try whose answer was lost.
func (s *Store) Take(ctx context.Context, lease string, value []byte) (Holder, error) {
	key := []byte(s.Key)
	var body json.RawMessage
	err := s.call(ctx, "/v3/kv/txn", map[string]any{
		"compare": []any{map[string]any{"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}},
		"success": []any{
			map[string]any{"request_put": map[string]any{"key": key, "value": value, "lease": lease}},
			map[string]any{"request_range": map[string]any{"key": key}},
		},
		"failure": []any{map[string]any{"request_range": map[string]any{"key": key}}},
	}, &body)
	if err != nil {
		return Holder{}, err
	}
	return parseTxn(body, s.Key)
}

// parseTxn reads the answer to Take: of either branch the last part is a range.
func parseTxn(body []byte, key string) (Holder, error) {
	var doc struct {
		Header    json.RawMessage `json:"header"`
		Responses []struct {
			Range json.RawMessage `json:"response_range"`
		} `json:"responses"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return Holder{}, fmt.Errorf("not an answer of etcd's: %w: %.80q", err, body)
	}
	if len(doc.Responses) == 0 || doc.Responses[len(doc.Responses)-1].Range == nil {
		return Holder{}, fmt.Errorf("not an answer of etcd's: no range: %.80q", body)
	}
	var part struct {
		KVs json.RawMessage `json:"kvs"`
	}
	if err := json.Unmarshal(doc.Responses[len(doc.Responses)-1].Range, &part); err != nil {
		return Holder{}, fmt.Errorf("not an answer of etcd's: %w: %.80q", err, body)
	}
	whole, err := json.Marshal(map[string]json.RawMessage{"header": orNull(doc.Header), "kvs": orNull(part.KVs)})
	if err != nil {
		return Holder{}, fmt.Errorf("not an answer of etcd's: %w", err)
	}
	h, err := parseRange(whole, key)
	if err == nil && h.ID == "" {
		err = errors.New("not an answer of etcd's: it is neither taken nor anybody's")
	}
	return h, err
}

func orNull(m json.RawMessage) json.RawMessage {
	if m == nil {
		return json.RawMessage("null")
	}
	return m
}

// parseRange reads the answer to a range of one key.
func parseRange(body []byte, key string) (Holder, error) {
	var doc struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
		KVs []struct {
			Key    []byte `json:"key"`
			Value  []byte `json:"value"`
			Create string `json:"create_revision"`
			Lease  string `json:"lease"`
		} `json:"kvs"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return Holder{}, fmt.Errorf("not an answer of etcd's: %w: %.80q", err, body)
	}
	revision, err := strconv.ParseInt(doc.Header.Revision, 10, 64)
	if err != nil || revision <= 0 {
		return Holder{}, fmt.Errorf("not an answer of etcd's: no revision: %.80q", body)
	}
	if len(doc.KVs) == 0 {
		return Holder{revision: revision}, nil
	}
	kv := doc.KVs[0]
	token, err := strconv.ParseInt(kv.Create, 10, 64)
	if len(doc.KVs) > 1 || string(kv.Key) != key || err != nil || token <= 0 || token > revision {
		return Holder{}, fmt.Errorf("not an answer of etcd's to this question: %.200q", body)
	}
	h := Holder{}
	if json.Unmarshal(kv.Value, &h) != nil || !plain.MatchString(h.ID) {
		h = Holder{ID: "unknown"} // somebody's hand: it is taken, all the same
	}
	h.Token, h.lease, h.revision = token, kv.Lease, revision
	return h, nil
}

// Changed returns when the key may have changed since a holder was read, and after wait.
func (s *Store) Changed(ctx context.Context, h Holder, wait time.Duration) error {
	return s.Client.Watch(ctx, s.Key, h.revision+1, wait)
}

// call asks one member, the next one after a failure.
func (s *Store) call(ctx context.Context, path string, body, into any) error {
	c := s.Client
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("no whole answer within %v", c.Timeout))
	defer cancel()
	err := s.ask(ctx, c.Endpoints[int(s.at.Load())%len(c.Endpoints)]+path, body, into)
	if err != nil {
		s.at.Add(1)
		if ctx.Err() != nil && !errors.Is(err, etcd.ErrNoLease) {
			return context.Cause(ctx)
		}
	}
	return err
}

func (s *Store) ask(ctx context.Context, url string, body, into any) error {
	text, err := json.Marshal(body) // a []byte becomes base64, as the gateway has it
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.Client.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, s.Client.Most+1))
	switch {
	case err != nil:
		return fmt.Errorf("half an answer: %d bytes, then %w", len(answer), err)
	case int64(len(answer)) > s.Client.Most:
		return fmt.Errorf("an answer of more than %d bytes", s.Client.Most)
	case resp.StatusCode != http.StatusOK && bytes.Contains(answer, []byte("lease not found")):
		return etcd.ErrNoLease
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %.200q", resp.Status, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("not an answer of etcd's: %w: %.80q", err, answer)
	}
	return nil
}
