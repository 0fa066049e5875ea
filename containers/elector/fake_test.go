package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// second is what a second of a lease takes in the fake.
const second = 500 * time.Millisecond

// fake is as much of etcd as an elector needs, with leases that end twice as fast.
type fake struct {
	url string

	mu       sync.Mutex
	revision int64
	leases   map[string]time.Time
	ttl      map[string]time.Duration
	next     int64
	key      *fakeKey
	frozen   chan struct{} // not nil: nothing is answered until it is closed
	lose     int           // so many answers to a txn are lost
	done     []string      // what was asked, but for watches and looks
	changed  chan struct{}
}

type fakeKey struct {
	name, value []byte
	lease       string
	created     int64
}

func newFake(t *testing.T) *fake {
	f := &fake{revision: 5, leases: map[string]time.Time{}, ttl: map[string]time.Duration{}, next: 100, changed: make(chan struct{})}
	srv := httptest.NewServer(f)
	f.url = srv.URL
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-time.After(5 * time.Millisecond):
				f.sweep()
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { f.freeze(false); srv.CloseClientConnections(); srv.Close(); close(stop) })
	return f
}

func (f *fake) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, end := range f.leases {
		if time.Now().After(end) {
			f.end(id)
		}
	}
}

func (f *fake) end(id string) {
	delete(f.leases, id)
	if f.key != nil && f.key.lease == id {
		f.drop()
	}
}

func (f *fake) drop() {
	f.key = nil
	f.revision++
	close(f.changed)
	f.changed = make(chan struct{})
}

// remove takes the key out by hand.
func (f *fake) remove() { f.mu.Lock(); defer f.mu.Unlock(); f.drop() }

func (f *fake) freeze(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case on && f.frozen == nil:
		f.frozen = make(chan struct{})
	case !on && f.frozen != nil:
		close(f.frozen)
		f.frozen = nil
	}
}

func (f *fake) token() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.key == nil {
		return 0
	}
	return f.key.created
}

func (f *fake) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.done...)
}

func (f *fake) note(what string) { f.mu.Lock(); defer f.mu.Unlock(); f.done = append(f.done, what) }

func (f *fake) kvs() string {
	if f.key == nil {
		return ""
	}
	key, _ := json.Marshal(f.key.name)
	value, _ := json.Marshal(f.key.value)
	return fmt.Sprintf(`"kvs":[{"key":%s,"value":%s,"create_revision":"%d","mod_revision":"%d","version":"1","lease":"%s"}],"count":"1"`,
		key, value, f.key.created, f.key.created, f.key.lease)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	frozen := f.frozen
	f.mu.Unlock()
	var doc struct {
		ID, TTL string
		Success []struct {
			Put *struct {
				Key, Value []byte
				Lease      string
			} `json:"request_put"`
		}
		Create struct {
			Start string `json:"start_revision"`
		} `json:"create_request"`
	}
	json.NewDecoder(r.Body).Decode(&doc)
	if frozen != nil {
		select {
		case <-frozen:
		case <-r.Context().Done():
			return
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	header := func() string { return fmt.Sprintf(`"header":{"revision":"%d"}`, f.revision) }
	missing := func() {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":"etcdserver: requested lease not found","code":5}`)
	}
	switch r.URL.Path {
	case "/v3/lease/grant":
		f.next++
		id := strconv.FormatInt(f.next, 10)
		seconds, _ := strconv.Atoi(doc.TTL)
		f.ttl[id] = time.Duration(seconds) * second
		f.leases[id] = time.Now().Add(f.ttl[id])
		f.done = append(f.done, "grant")
		fmt.Fprintf(w, `{%s,"ID":"%s","TTL":"%s"}`, header(), id, doc.TTL)
	case "/v3/lease/keepalive":
		if _, there := f.leases[doc.ID]; !there {
			fmt.Fprintf(w, `{"result":{%s,"ID":"%s"}}`, header(), doc.ID)
			return
		}
		f.leases[doc.ID] = time.Now().Add(f.ttl[doc.ID])
		fmt.Fprintf(w, `{"result":{%s,"ID":"%s","TTL":"2"}}`, header(), doc.ID)
	case "/v3/lease/revoke":
		f.done = append(f.done, "revoke")
		if _, there := f.leases[doc.ID]; !there {
			missing()
			return
		}
		f.end(doc.ID)
		fmt.Fprintf(w, `{%s}`, header())
	case "/v3/kv/range":
		fmt.Fprintf(w, `{%s`, header())
		if kvs := f.kvs(); kvs != "" {
			fmt.Fprint(w, ",", kvs)
		}
		fmt.Fprint(w, "}")
	case "/v3/kv/txn":
		put := doc.Success[0].Put
		if _, there := f.leases[put.Lease]; !there && f.key == nil {
			missing()
			return
		}
		succeeded := ""
		if f.key == nil {
			f.revision++
			f.key = &fakeKey{name: put.Key, value: put.Value, lease: put.Lease, created: f.revision}
			succeeded = `"succeeded":true,`
		}
		f.done = append(f.done, "take")
		if f.lose > 0 {
			f.lose--
			panic(http.ErrAbortHandler)
		}
		first := ""
		if succeeded != "" {
			first = `{"response_put":{}},`
		}
		fmt.Fprintf(w, `{%s,%s"responses":[%s{"response_range":{%s}}]}`, header(), succeeded, first, f.kvs())
	case "/v3/watch":
		fmt.Fprintf(w, "{\"result\":{%s,\"created\":true}}\n", header())
		http.NewResponseController(w).Flush()
		start, _ := strconv.ParseInt(doc.Create.Start, 10, 64)
		for f.revision < start {
			changed := f.changed
			f.mu.Unlock()
			select {
			case <-changed:
			case <-r.Context().Done():
				f.mu.Lock()
				return
			}
			f.mu.Lock()
		}
		fmt.Fprintf(w, `{"result":{%s,"events":[{}]}}`, header())
	default:
		http.NotFound(w, r)
	}
}
