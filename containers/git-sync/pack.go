package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"distlab/containers/internal/whole"
)

// errPack says that what came is no pack that can be used alone.
var errPack = errors.New("the pack cannot be used")

// install writes a pack and its index into a folder. It goes through the pack before anything is taken into memory:
// an object says how large it is before it comes, and one that is too large ends it.
func install(ctx context.Context, dir string, r io.Reader, limits Limits) (err error) {
	f, err := os.CreateTemp(dir, whole.Prefix+"pack-*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if err := inspect(ctx, f, limits); err != nil {
		return err
	}
	sum, index, err := indexed(f)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "pack-"+sum.String())
	// The index first: a pack without one would be a damaged store, an index alone is nothing.
	if err := write(name+".idx", func(w io.Writer) error {
		_, err := idxfile.NewEncoder(w).Encode(index)
		return err
	}); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name+".pack"); err != nil {
		return err
	}
	return whole.Sync(dir)
}

// write is whole.Write for what is too large to be held.
func write(path string, content func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), whole.Prefix+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(content(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// inspect reads the sizes of all objects, and for a delta that of what it makes.
func inspect(ctx context.Context, f io.ReadSeeker, limits Limits) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	scanner := packfile.NewScanner(f)
	_, count, err := scanner.Header()
	if err != nil {
		return fmt.Errorf("%w: %w", errPack, err)
	}
	if count == 0 {
		return fmt.Errorf("%w: it is empty", errPack)
	}
	for range count {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := scanner.NextObjectHeader()
		if err != nil {
			return fmt.Errorf("%w: %w", errPack, err)
		}
		if h.Length > limits.File {
			return over("an object", h.Length, limits.File, "MAX_FILE")
		}
		if !h.Type.IsDelta() {
			continue // the scanner skips it
		}
		head := &first{}
		if _, _, err := scanner.NextObject(head); err != nil {
			return fmt.Errorf("%w: %w", errPack, err)
		}
		if makes := head.target(); makes > limits.File {
			return over("an object", makes, limits.File, "MAX_FILE")
		}
	}
	return nil
}

// first keeps the first bytes that are written to it. A delta begins with two sizes, of its base and of what it
// makes, in groups of seven bits.
type first struct{ head []byte }

func (f *first) Write(p []byte) (int, error) {
	f.head = append(f.head, p[:min(len(p), 2*binary.MaxVarintLen64-len(f.head))]...)
	return len(p), nil
}

// target is the second size; one that cannot be read is left to who applies the delta.
func (f *first) target() int64 {
	_, n := binary.Uvarint(f.head)
	if n <= 0 {
		return 0
	}
	size, n := binary.Uvarint(f.head[n:])
	if n <= 0 || size > 1<<62 {
		return 1 << 62
	}
	return int64(size)
}

// indexed makes the index of a pack.
func indexed(f io.ReadSeeker) (sum plumbing.Hash, index *idxfile.MemoryIndex, err error) {
	defer recovered(&err)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return sum, nil, err
	}
	w := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(f), w)
	if err != nil {
		return sum, nil, err
	}
	if sum, err = parser.Parse(); err != nil {
		return sum, nil, fmt.Errorf("%w: %w", errPack, err)
	}
	if index, err = w.Index(); err != nil {
		return sum, nil, fmt.Errorf("%w: %w", errPack, err)
	}
	return sum, index, nil
}

// recovered turns a panic over what a remote sent into an error: it must not end the process.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", errPack, p)
	}
}
