package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// known are the statistics of one shard: the version that is believed to be served, and some that were, since replicas
// change from one to the next at different times.
type known struct {
	mu       sync.Mutex
	versions []*Statistics // the newest last
}

const keepVersions = 4

func (k *known) newest() *Statistics {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.versions) == 0 {
		return nil
	}
	return k.versions[len(k.versions)-1]
}

// version makes one the newest, and is it, if it is known.
func (k *known) version(v string) *Statistics {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.versions, func(s *Statistics) bool { return s.Version == v })
	if i < 0 {
		return nil
	}
	s := k.versions[i]
	k.versions = append(slices.Delete(k.versions, i, i+1), s)
	return s
}

func (k *known) add(s *Statistics) {
	if k.version(s.Version) != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.versions = append(k.versions, s)
	if len(k.versions) > keepVersions {
		k.versions = slices.Delete(k.versions, 0, 1)
	}
}

// view is what a search goes by: the statistics of each shard, nil for one of which nothing is known.
type view []*Statistics

func (r *Root) view() view {
	v := make(view, len(r.known))
	for i := range r.known {
		v[i] = r.known[i].newest()
	}
	return v
}

// sum is the whole collection's, for some words. Shards that do not answer count, too: what is found elsewhere has the
// same score then as in a whole answer.
func (v view) sum(words []string) (documents int, length int64, in []int) {
	in = make([]int, len(words))
	for _, s := range v {
		if s == nil {
			continue
		}
		documents += s.Documents
		length += s.Length
		for i, w := range words {
			in[i] += s.Words[w]
		}
	}
	return documents, length, in
}

// statisticsTimeout bounds one asking for them.
const statisticsTimeout = 10 * time.Second

// Refresh asks for statistics again and again until ctx is done, and says each time of how many shards they are known.
func (r *Root) Refresh(ctx context.Context, every time.Duration, said func(known int)) {
	for {
		var wg sync.WaitGroup
		slots := make(chan struct{}, 4)
		for shard := range r.shards {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				r.refresh(ctx, shard)
			})
		}
		wg.Wait()
		n := 0
		for i := range r.known {
			if r.known[i].newest() != nil {
				n++
			}
		}
		said(n)
		wait := every
		if n < len(r.shards) {
			wait = min(every, 200*time.Millisecond)
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// refresh asks the replicas of a shard in turn until one has said what it has.
func (r *Root) refresh(ctx context.Context, shard int) {
	ctx, cancel := context.WithTimeout(ctx, statisticsTimeout)
	defer cancel()
	have := ""
	if s := r.known[shard].newest(); s != nil {
		have = s.Version
	}
	for _, rep := range r.order(shard, nil) {
		// A replica that is frozen must not keep the others from being asked.
		one, done := context.WithTimeout(ctx, statisticsTimeout/4)
		s, err := rep.statistics(one, r.client, shard, have)
		done()
		if err != nil {
			r.Log.Debug("no statistics", "shard", shard, "replica", rep.addr, "error", err)
			continue
		}
		if s != nil {
			r.learned(s)
		}
		return
	}
}

func (r *Root) learned(s *Statistics) {
	r.known[s.Shard].add(s)
	r.Metrics.statistics.Inc()
	r.Log.Info("statistics known", "shard", s.Shard, "version", s.Version, "documents", s.Documents, "words", len(s.Words))
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
