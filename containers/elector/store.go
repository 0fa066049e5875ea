package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"distlab/containers/internal/etcd"
	"distlab/containers/internal/names"
)

// Store is the election's key in etcd. Its value says who the owner is, its lease how long, and the revision in which it
// was made is the owner's token: etcd never gives a number twice, nor a lower one later.
type Store struct {
	Key    string
	Client *etcd.Client
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
	if err := s.Client.Call(ctx, "/v3/kv/range", map[string]any{"key": []byte(s.Key)}, &body); err != nil {
		return Holder{}, err
	}
	return parseRange(body, s.Key)
}

// Take writes the key, bound to the lease, if nobody has it. What it says is who has it now, which may be this lease from
// an earlier try whose answer was lost.
func (s *Store) Take(ctx context.Context, lease string, value []byte) (Holder, error) {
	key := []byte(s.Key)
	var body json.RawMessage
	err := s.Client.Call(ctx, "/v3/kv/txn", map[string]any{
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

// header is of every answer; what is zero is not there.
type header struct {
	Revision string `json:"revision"` // of the whole store
}

// pair is the key as etcd has it.
type pair struct {
	Key    []byte `json:"key"`
	Value  []byte `json:"value"`
	Create string `json:"create_revision"`
	Lease  string `json:"lease"`
}

// parseTxn reads the answer to Take: of either branch the last part is a range.
func parseTxn(body []byte, key string) (Holder, error) {
	var doc struct {
		Header    header `json:"header"`
		Responses []struct {
			Range *struct {
				KVs []pair `json:"kvs"`
			} `json:"response_range"`
		} `json:"responses"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return Holder{}, fmt.Errorf("not an answer of etcd's: %w: %.80q", err, body)
	}
	n := len(doc.Responses)
	if n == 0 || doc.Responses[n-1].Range == nil {
		return Holder{}, fmt.Errorf("not an answer of etcd's: no range: %.80q", body)
	}
	h, err := holder(doc.Header, doc.Responses[n-1].Range.KVs, key)
	if err == nil && h.ID == "" {
		err = errors.New("not an answer of etcd's: it is neither taken nor anybody's")
	}
	return h, err
}

// parseRange reads the answer to a range of one key.
func parseRange(body []byte, key string) (Holder, error) {
	var doc struct {
		Header header `json:"header"`
		KVs    []pair `json:"kvs"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return Holder{}, fmt.Errorf("not an answer of etcd's: %w: %.80q", err, body)
	}
	return holder(doc.Header, doc.KVs, key)
}

// holder is who has the key by these pairs, of which there is one at most.
func holder(at header, kvs []pair, key string) (Holder, error) {
	revision, err := strconv.ParseInt(at.Revision, 10, 64)
	if err != nil || revision <= 0 {
		return Holder{}, fmt.Errorf("not an answer of etcd's: revision %.80q", at.Revision)
	}
	if len(kvs) == 0 {
		return Holder{revision: revision}, nil
	}
	kv := kvs[0]
	token, err := strconv.ParseInt(kv.Create, 10, 64)
	if len(kvs) > 1 || string(kv.Key) != key || err != nil || token <= 0 || token > revision {
		return Holder{}, fmt.Errorf("not an answer of etcd's to this question: %d keys, the first %.80q, made in %.20q of %d",
			len(kvs), kv.Key, kv.Create, revision)
	}
	h := Holder{}
	if json.Unmarshal(kv.Value, &h) != nil || !names.Plain(h.ID) {
		h = Holder{ID: "unknown"} // somebody's hand: it is taken, all the same
	}
	h.Token, h.lease, h.revision = token, kv.Lease, revision
	return h, nil
}

// Changed returns when the key may have changed since a holder was read, and after wait.
func (s *Store) Changed(ctx context.Context, h Holder, wait time.Duration) error {
	return s.Client.Watch(ctx, s.Key, h.revision+1, wait)
}
