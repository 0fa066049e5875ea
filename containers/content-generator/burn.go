package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Burn takes all the processor time that the container may have, on demand and for a time: a generation that costs more
// than anybody thought, so that it can be seen whom that harms.
type Burn struct {
	threads atomic.Int64

	mu   sync.Mutex
	stop chan struct{} // closed to end what burns now
	done sync.WaitGroup
}

// Bounds of what may be asked for.
const (
	maxThreads = 64
	maxBurn    = 5 * time.Minute
)

// Threads is how many burn now.
func (b *Burn) Threads() int { return int(b.threads.Load()) }

// Start burns with so many threads, for so long, in place of what burns now.
func (b *Burn) Start(threads int, length time.Duration) {
	b.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop = make(chan struct{})
	stop, end := b.stop, time.Now().Add(length)
	for range threads {
		b.threads.Add(1)
		b.done.Go(func() {
			defer b.threads.Add(-1)
			for n := 0; ; n++ {
				if n%100000 != 0 {
					continue
				}
				select {
				case <-stop:
					return
				default:
				}
				if time.Now().After(end) {
					return
				}
			}
		})
	}
}

// Stop ends it, and returns when all threads have ended.
func (b *Burn) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		close(b.stop)
		b.stop = nil
	}
	b.done.Wait()
}

func (b *Burn) put(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Threads int    `json:"threads"`
		For     string `json:"for"`
	}
	dec := json.NewDecoder(io.LimitReader(r.Body, 4<<10))
	dec.DisallowUnknownFields()
	err := dec.Decode(&ask)
	var length time.Duration
	if err == nil {
		length, err = time.ParseDuration(ask.For)
	}
	switch {
	case err != nil:
		err = fmt.Errorf(`not like {"threads": 4, "for": "10s"}: %w`, err)
	case ask.Threads < 1 || ask.Threads > maxThreads:
		err = fmt.Errorf("threads: not between 1 and %d", maxThreads)
	case length <= 0 || length > maxBurn:
		err = fmt.Errorf("for: not more than 0 and at most %v", maxBurn)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.Start(ask.Threads, length)
	w.WriteHeader(http.StatusNoContent)
}

func (b *Burn) delete(w http.ResponseWriter, _ *http.Request) {
	b.Stop()
	w.WriteHeader(http.StatusNoContent)
}
