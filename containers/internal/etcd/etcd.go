// Package etcd speaks to etcd by the JSON gateway that every etcd since 3.4 serves beside gRPC: the client with gRPC alone is
// larger than most programs that need three calls of it.
//
//	c := &etcd.Client{Endpoints: []string{"http://etcd:2379"}, Timeout: 2 * time.Second, Most: 4 << 20}
//	keys, revision, err := c.Range(ctx, "/services/")
//	…
//	err = c.Watch(ctx, "/services/", revision+1, time.Minute)
//
// A range is one answer as of one revision. A watch only tells that there is something to read: its user reads all again,
// and so misses nothing, neither what a compaction took out of the history nor an event that a server dropped
// (etcd 18089, 19179).
//
// In the gateway's answers numbers are texts, keys and values base64, and what is zero is not there.
// Source: https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Client asks one of several endpoints, and the next one after a failure. Its methods may be called by several goroutines.
type Client struct {
	Endpoints []string      // http://host:port
	HTTP      *http.Client  // nil: one of its own
	Timeout   time.Duration // of a whole answer, and of the beginning of a watch
	Most      int64         // bytes of an answer

	at atomic.Int64 // of the endpoint that answered last
}

// CheckEndpoints refuses what is no list of addresses of etcd's.
func CheckEndpoints(list []string) error {
	if len(list) == 0 {
		return errors.New("no address of etcd's")
	}
	for _, one := range list {
		u, err := url.Parse(one)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			return fmt.Errorf("etcd: %.80q is not http://host:port", one)
		}
	}
	return nil
}

// KV is a key with its value.
type KV struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// ErrNoLease says that a lease is over, or never was.
var ErrNoLease = errors.New("no such lease")

// errQuiet ends a watch that has seen nothing.
var errQuiet = errors.New("nothing for a while")

// End is the first key behind all that begin with a prefix.
func End(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return []byte{0} // all there are
}

// Range is all keys that begin with a prefix, as of one revision.
func (c *Client) Range(ctx context.Context, prefix string) ([]KV, int64, error) {
	var body json.RawMessage
	if err := c.Call(ctx, "/v3/kv/range", map[string]any{"key": []byte(prefix), "range_end": End(prefix)}, &body); err != nil {
		return nil, 0, err
	}
	kvs, revision, err := ParseRange(body, prefix)
	if err != nil {
		c.at.Add(1)
	}
	return kvs, revision, err
}

// ParseRange reads the answer to a range.
func ParseRange(body []byte, prefix string) ([]KV, int64, error) {
	var doc struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
		KVs []KV `json:"kvs"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, 0, fmt.Errorf("not an answer of etcd's: %w: %.80q", err, body)
	}
	revision, err := strconv.ParseInt(doc.Header.Revision, 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("not an answer of etcd's: no revision: %.80q", body)
	}
	for _, kv := range doc.KVs {
		if !strings.HasPrefix(string(kv.Key), prefix) {
			return nil, 0, fmt.Errorf("a key that was not asked for: %.80q", kv.Key)
		}
	}
	return doc.KVs, revision, nil
}

// Watch returns at the first event from a revision on, when the history does not go back that far any more, when the
// stream ends, and after wait. Only an etcd that does not answer is an error.
func (c *Client) Watch(ctx context.Context, prefix string, revision int64, wait time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errQuiet)
	defer cancel()
	stream, end := context.WithCancelCause(ctx)
	defer end(nil)
	late := time.AfterFunc(c.Timeout, func() { end(fmt.Errorf("no watch within %v", c.Timeout)) })
	defer late.Stop()
	resp, err := c.post(stream, "/v3/watch", map[string]any{"create_request": map[string]any{
		"key": []byte(prefix), "range_end": End(prefix), "start_revision": strconv.FormatInt(revision, 10),
	}})
	if err != nil {
		return c.ended(stream, err)
	}
	defer resp.Body.Close()
	answers := json.NewDecoder(io.LimitReader(resp.Body, c.Most))
	for {
		var message struct {
			Result *struct {
				Canceled bool              `json:"canceled"` // compacted, say
				Events   []json.RawMessage `json:"events"`
			} `json:"result"`
			Error json.RawMessage `json:"error"`
		}
		err := answers.Decode(&message)
		switch {
		case err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && stream.Err() == nil:
			return nil // cut, by a restart or by Most: a range shows whether it is well
		case err != nil:
			return c.ended(stream, err)
		case message.Error != nil || message.Result == nil:
			c.at.Add(1)
			return fmt.Errorf("watch: %.200s", message.Error)
		case message.Result.Canceled || len(message.Result.Events) > 0:
			return nil
		}
		late.Stop() // it is open
	}
}

// ended is why a watch has ended, which is no error where it has seen nothing for long enough.
func (c *Client) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, errQuiet) {
		return nil
	}
	c.at.Add(1)
	return err
}

// Grant makes a lease that ends when nobody keeps it for that long, in whole seconds.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (lease string, err error) {
	var doc struct{ ID string }
	seconds := strconv.FormatInt(int64(max(ttl, time.Second)/time.Second), 10)
	if err := c.Call(ctx, "/v3/lease/grant", map[string]any{"TTL": seconds}, &doc); err != nil {
		return "", err
	}
	if doc.ID == "" {
		return "", errors.New("not an answer of etcd's: a lease without an ID")
	}
	return doc.ID, nil
}

// Keep prolongs a lease. Of one that is over etcd says 200, and no time.
func (c *Client) Keep(ctx context.Context, lease string) error {
	var doc struct {
		Result struct{ TTL string } `json:"result"`
	}
	if err := c.Call(ctx, "/v3/lease/keepalive", map[string]any{"ID": lease}, &doc); err != nil {
		return err
	}
	if doc.Result.TTL == "" {
		return ErrNoLease
	}
	return nil
}

// Revoke ends a lease, and with it the keys that are bound to it.
func (c *Client) Revoke(ctx context.Context, lease string) error {
	return c.Call(ctx, "/v3/lease/revoke", map[string]any{"ID": lease}, nil)
}

// Put writes a key, bound to a lease.
func (c *Client) Put(ctx context.Context, key, value, lease string) error {
	return c.Call(ctx, "/v3/kv/put", map[string]any{"key": []byte(key), "value": []byte(value), "lease": lease}, nil)
}

// Call asks for what has no method here, by the gateway's path, and reads the whole answer. A []byte in the body becomes
// base64, as the gateway has it. An answer that is not 200 is an error, [ErrNoLease] among them.
func (c *Client) Call(ctx context.Context, path string, body, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("no whole answer within %v", c.Timeout))
	defer cancel()
	err := func() error {
		resp, err := c.post(ctx, path, body)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(resp.Body, c.Most+1))
		switch {
		case err != nil:
			return fmt.Errorf("half an answer: %d bytes, then %w", len(text), err)
		case int64(len(text)) > c.Most:
			return fmt.Errorf("an answer of more than %d bytes", c.Most)
		case into == nil:
			return nil
		}
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("not an answer of etcd's: %w: %.80q", err, text)
		}
		return nil
	}()
	if err != nil {
		c.at.Add(1)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return err
}

func (c *Client) post(ctx context.Context, path string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	endpoint := c.Endpoints[int(c.at.Load())%len(c.Endpoints)]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(endpoint, "/")+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // the rest of it is the address, which its reader knows
			err = u.Err
		}
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		if resp.StatusCode == http.StatusNotFound && bytes.Contains(said, []byte("lease not found")) {
			return nil, ErrNoLease
		}
		return nil, fmt.Errorf("%s: %q", resp.Status, said)
	}
	return resp, nil
}
