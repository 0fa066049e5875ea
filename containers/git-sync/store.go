package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"distlab/containers/internal/whole"
)

// Store keeps the objects of what was fetched, so that the next fetch brings only what is new. It is a cache:
// whatever is wrong with it, it is emptied, and filled again by the next fetch.
type Store struct {
	Dir     string
	Limits  Limits
	Fetched func() // called for each fetch; nil for none
}

const (
	maxPacks = 32      // so many fetches later it is emptied: packs are never repacked
	large    = 1 << 20 // a blob from this size on is not read into memory
)

// objects opens it for reading.
func (s *Store) objects() *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(s.Dir), cache.NewObjectLRU(4*cache.MiByte),
		filesystem.Options{LargeObjectThreshold: large})
}

// Empty drops all of it.
func (s *Store) Empty() error { return os.RemoveAll(s.Dir) }

// Has says whether a commit, and with it its whole tree, is here: packs come whole or not at all.
func (s *Store) Has(hash plumbing.Hash) bool {
	return s.objects().HasEncodedObject(hash) == nil
}

// Fetch brings commits with so much of their history.
func (s *Store) Fetch(ctx context.Context, session *Session, wants []plumbing.Hash, depth int) error {
	packs, _ := filepath.Glob(filepath.Join(s.Dir, "objects", "pack", "*.pack"))
	if len(packs) >= maxPacks {
		if err := s.Empty(); err != nil {
			return err
		}
	}
	haves, shallows := s.held()
	err := s.fetch(ctx, session, wants, depth, haves, shallows)
	if errors.Is(err, errPack) && len(haves) > 0 && ctx.Err() == nil {
		// What came rests on what should be here and is not. Without it all comes anew, the next time.
		return errors.Join(err, s.Empty())
	}
	return err
}

func (s *Store) fetch(ctx context.Context, session *Session, wants []plumbing.Hash, depth int, haves, shallows []plumbing.Hash) error {
	dir := filepath.Join(s.Dir, "objects", "pack")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := whole.Clean(dir); err != nil {
		return err
	}
	if s.Fetched != nil {
		s.Fetched()
	}
	pack, err := session.Fetch(ctx, wants, depth, haves, shallows)
	if err != nil {
		return err
	}
	if err := install(ctx, dir, pack, s.Limits); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	shallows = slices.DeleteFunc(append(shallows, pack.Shallows...), func(h plumbing.Hash) bool {
		return slices.Contains(pack.Unshallows, h)
	})
	return s.hold(wants, shallows)
}

// held are the commits to offer the remote as known, and those at which history ends. Two lines of words in one file.
func (s *Store) held() (haves, shallows []plumbing.Hash) {
	text, err := os.ReadFile(filepath.Join(s.Dir, "held"))
	if err != nil {
		return nil, nil
	}
	list := func(line string) (hashes []plumbing.Hash) {
		for _, word := range strings.Fields(line) {
			hashes = append(hashes, plumbing.NewHash(word))
		}
		return hashes
	}
	first, second, _ := strings.Cut(string(text), "\n")
	return list(first), list(second)
}

func (s *Store) hold(haves, shallows []plumbing.Hash) error {
	line := func(hashes []plumbing.Hash) string {
		var words []string
		for _, h := range hashes {
			words = append(words, h.String())
		}
		slices.Sort(words)
		return strings.Join(slices.Compact(words), " ") + "\n"
	}
	return whole.Write(filepath.Join(s.Dir, "held"), []byte(line(haves)+line(shallows)), 0o644)
}

// Commit is the commit of a hash, or that which a tag points at.
func (s *Store) Commit(hash plumbing.Hash) (commit *object.Commit, err error) {
	defer recovered(&err)
	objects := s.objects()
	for range 10 { // a tag may point at a tag
		o, err := objects.EncodedObject(plumbing.AnyObject, hash)
		if err != nil {
			return nil, fmt.Errorf("%w: object %s: %w", errStore, hash, err)
		}
		switch o.Type() {
		case plumbing.CommitObject:
			if commit, err = object.DecodeCommit(objects, o); err != nil {
				return nil, fmt.Errorf("%w: commit %s: %w", ErrTree, hash, err)
			}
			return commit, nil
		case plumbing.TagObject:
			var tag object.Tag
			if err := tag.Decode(o); err != nil {
				return nil, fmt.Errorf("%w: tag %s: %w", ErrTree, hash, err)
			}
			hash = tag.Target
		default:
			return nil, fmt.Errorf("%s is a %s, not a commit", hash, o.Type())
		}
	}
	return nil, fmt.Errorf("%s: tags that point at tags without end", hash)
}

// errStore says that an object could not be read that should be here.
var errStore = errors.New("the store lacks something")

// reader marks the errors of reading an object, beside which there are those of writing it somewhere.
type reader struct{ io.ReadCloser }

func (r reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errStore, err)
	}
	return n, err
}

func open(blob *object.Blob) (io.ReadCloser, error) {
	r, err := blob.Reader()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	return reader{r}, nil
}
