package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/etcd"
)

// Etcd is the keys below a prefix, a file each.
//
// A set is one range, which etcd answers as of one revision: keys that were put in one transaction are seen together. The
// watch only tells that there is something to read; at the latest after Wait it is read again.
type Etcd struct {
	Client *etcd.Client
	Prefix string
	Wait   time.Duration
	Limits Limits
}

// Next reads the keys, after an event if the revision of the last read is known.
func (e *Etcd) Next(ctx context.Context, known string) (Set, error) {
	if revision, err := strconv.ParseInt(known, 10, 64); err == nil {
		if err := e.Client.Watch(ctx, e.Prefix, revision+1, e.Wait); err != nil {
			return Set{}, err
		}
		select { // one change seldom comes alone, and a busy prefix is not read for each
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	keys, revision, err := e.Client.Range(ctx, e.Prefix)
	if err != nil {
		return Set{}, err
	}
	return e.set(keys, revision)
}

func (e *Etcd) set(keys []etcd.KV, revision int64) (Set, error) {
	set := Set{Files: Files{}, Tag: strconv.FormatInt(revision, 10), Version: fmt.Sprintf("revision %d", revision)}
	for _, kv := range keys {
		set.Files[strings.TrimPrefix(string(kv.Key), e.Prefix)] = string(kv.Value)
	}
	if len(set.Files) == 0 {
		return Set{}, fmt.Errorf("no key begins with %s", e.Prefix)
	}
	return set, e.Limits.check(set.Files)
}

// mostOf is how large an answer may be: base64 takes four bytes for three, and each key has some numbers.
func (l Limits) mostOf() int64 { return int64(l.Size)*3/2 + int64(l.Files)*512 + 4096 }
