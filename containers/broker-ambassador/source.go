package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"distlab/containers/internal/etcd"
)

// Answer is what a registry says at one time.
type Answer struct {
	Version string
	// Instances are those of each service. A service that is not among them has none.
	Instances map[string][]Instance
	// Garbled are the registrations that cannot be read, by service and ID, and why.
	Garbled map[string]map[string]string
}

func newAnswer(version string) Answer {
	return Answer{version, map[string][]Instance{}, map[string]map[string]string{}}
}

// add reads one registration.
func (a Answer) add(service, id, text string) {
	in, err := ParseInstance(id, text)
	if err == nil && len(a.Instances[service]) >= mostInstances {
		err = fmt.Errorf("more than %d instances", mostInstances)
	}
	if err == nil {
		a.Instances[service] = append(a.Instances[service], in)
		return
	}
	a.garble(service, id, err.Error())
}

// garble notes a registration that cannot be read.
func (a Answer) garble(service, id, why string) {
	if a.Garbled[service] == nil {
		a.Garbled[service] = map[string]string{}
	}
	if len(a.Garbled[service]) < mostInstances {
		a.Garbled[service][id] = why
	}
}

// Source is a registry. Next gives its next answer: at once at first and after an error, then when something has changed, or
// when it is time to ask again.
type Source interface {
	Next(ctx context.Context) (Answer, error)
}

// Etcd is registrations below a prefix, a key each: PREFIX + service + "/" + ID.
type Etcd struct {
	Client *etcd.Client
	Prefix string
	Relist time.Duration

	revision int64 // of the last answer; 0: ask at once
}

// Next reads all keys. A watch says when, and nothing else: what a compaction or a lost event has hidden is read all the same.
func (e *Etcd) Next(ctx context.Context) (Answer, error) {
	if e.revision > 0 {
		err := e.Client.Watch(ctx, e.Prefix, e.revision+1, e.Relist)
		e.revision = 0
		if err != nil {
			return Answer{}, err
		}
	}
	kvs, revision, err := e.Client.Range(ctx, e.Prefix)
	if err != nil {
		return Answer{}, err
	}
	e.revision = revision
	a := newAnswer(fmt.Sprintf("revision %d", revision))
	for _, kv := range kvs {
		service, id, ok := strings.Cut(strings.TrimPrefix(string(kv.Key), e.Prefix), "/")
		if ok { // else it is somebody else's
			a.add(service, id, string(kv.Value))
		}
	}
	return a, nil
}

// File is a JSON file: an object of services, each a list of instances.
type File struct {
	Path  string
	Poll  time.Duration
	asked bool
}

const mostFile = 4 << 20

// Next reads the file, at most once in Poll.
func (f *File) Next(ctx context.Context) (Answer, error) {
	if f.asked {
		select {
		case <-time.After(f.Poll):
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		}
	}
	f.asked = true
	file, err := os.Open(f.Path)
	if err != nil {
		return Answer{}, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostFile+1))
	if err != nil {
		return Answer{}, err
	}
	if len(text) > mostFile {
		return Answer{}, fmt.Errorf("%s has more than %d bytes", f.Path, mostFile)
	}
	st, err := file.Stat()
	if err != nil {
		return Answer{}, err
	}
	return ParseFile("of "+st.ModTime().UTC().Format(time.RFC3339), text)
}

// ParseFile reads what a registry's file has in it.
func ParseFile(version string, text []byte) (Answer, error) {
	var doc map[string][]json.RawMessage
	if err := json.Unmarshal(text, &doc); err != nil {
		return Answer{}, fmt.Errorf("not a registry's file: %w", err)
	}
	if doc == nil {
		return Answer{}, errors.New("not a registry's file: null")
	}
	a := newAnswer(version)
	for service, list := range doc {
		seen := map[string]bool{}
		for i, one := range list {
			var named struct {
				ID string `json:"id"`
			}
			switch err := json.Unmarshal(one, &named); {
			case err != nil:
				a.garble(service, fmt.Sprintf("#%d", i+1), fmt.Sprintf("not a registration: %v", err))
				continue
			case named.ID == "":
				a.garble(service, fmt.Sprintf("#%d", i+1), "it has no id")
				continue
			case seen[named.ID]:
				a.garble(service, fmt.Sprintf("#%d", i+1), fmt.Sprintf("there are two of the id %.80q", named.ID))
				continue
			}
			seen[named.ID] = true
			a.add(service, named.ID, string(one))
		}
	}
	return a, nil
}
