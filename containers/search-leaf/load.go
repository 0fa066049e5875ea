package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Source is where documents come from, and which of them are the leaf's.
type Source struct {
	Patterns []string // of files
	Shards   []int    // the leaf's own
	Count    int      // of all shards
	MaxDocs  int
	MaxBytes int64
}

// longestLine bounds a document.
const longestLine = 1 << 20

// document is one line of a file.
type document struct{ id, text string }

// ShardOf is the shard whose a document is, by its ID: FNV-1a of 64 bits, and its upper half folded onto the lower one,
// for the lowest bits alone say little.
func ShardOf(id string, count int) int {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	return int((h ^ h>>32) % uint64(count))
}

// Read reads all files and makes an index of each of the leaf's shards. What is wrong with one line is wrong with the
// whole: half a collection that is taken for all of it would answer wrongly, and nobody would know.
func (s *Source) Read() (map[int]*Index, error) {
	var files []string
	for _, p := range s.Patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			return nil, fmt.Errorf("DOCUMENTS: %q: %w", p, err)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	mine := map[int][]document{}
	for _, shard := range s.Shards {
		mine[shard] = nil
	}
	left, docs := s.MaxBytes, 0
	for _, name := range files {
		err := eachLine(name, &left, func(line []byte) error {
			if docs++; docs > s.MaxDocs {
				return fmt.Errorf("more than %d documents (MAX_DOCUMENTS)", s.MaxDocs)
			}
			id, text, ok := bytes.Cut(line, []byte{'\t'})
			switch {
			case !ok || len(id) == 0:
				return errors.New("not ID, tab, text")
			case len(id) > 256:
				return errors.New("an ID of more than 256 bytes")
			case !utf8.Valid(line):
				return errors.New("not UTF-8")
			}
			shard := ShardOf(string(id), s.Count)
			if list, ok := mine[shard]; ok {
				mine[shard] = append(list, document{string(id), string(text)})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	indexes := map[int]*Index{}
	for shard, list := range mine {
		slices.SortFunc(list, func(a, b document) int { return strings.Compare(a.id, b.id) })
		for i := 1; i < len(list); i++ {
			if list[i].id == list[i-1].id {
				return nil, fmt.Errorf("document %.80q is there twice", list[i].id)
			}
		}
		indexes[shard] = newIndex(shard, list)
	}
	return indexes, nil
}

// eachLine reads a file's lines, unpacked where its name ends in .gz. left is how many bytes may still be read.
func eachLine(name string, left *int64, line func([]byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer z.Close()
		r = z
	}
	scan := bufio.NewScanner(io.LimitReader(r, *left+1))
	scan.Buffer(make([]byte, 64<<10), longestLine)
	for n := 1; scan.Scan(); n++ {
		if *left -= int64(len(scan.Bytes())) + 1; *left < 0 {
			return fmt.Errorf("%s:%d: the files are larger than MAX_BYTES", name, n)
		}
		if len(scan.Bytes()) == 0 {
			continue
		}
		if err := line(scan.Bytes()); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// better orders hits: the higher score first, and of equal ones the lesser ID, so that every replica, and a root that
// merges, has the same order.
func better(a, b Hit) int {
	if c := cmp.Compare(b.Score, a.Score); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}
