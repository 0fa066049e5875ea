package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	_ "embed" // the words are in the program
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// builtin is wordnet/gen.go's; wordnet/LICENSE goes with it.
//
//go:embed wordnet/words.gz
var builtin []byte

//go:embed wordnet/LICENSE
var license string

// Definition is one meaning of a word.
type Definition struct {
	Part string `json:"part"` // of speech: noun, verb, adj, adv
	Text string `json:"text"`
}

// Entry is a word with its meanings, the most frequent first for each part of speech.
type Entry struct {
	Word        string       `json:"word"`
	Definitions []Definition `json:"definitions"`
}

// Dictionary is a sorted list of words. It does not change.
type Dictionary struct{ entries []Entry }

// Bounds of a file: one that is larger is not ours.
const (
	maxWords = 64 << 20 // bytes of text
	maxWord  = 64       // bytes of a word
	maxLine  = 4 << 10
)

// Open reads a file, or the words that are built in.
func Open(path string) (*Dictionary, error) {
	if path == "" {
		return Read(bytes.NewReader(builtin))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// Read reads lines of a word, a part of speech and a definition, with tabs between, gzipped or not.
func Read(r io.Reader) (*Dictionary, error) {
	b := bufio.NewReader(r)
	if magic, _ := b.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		b = bufio.NewReader(z)
	}
	text, err := io.ReadAll(io.LimitReader(b, maxWords+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxWords:
		return nil, fmt.Errorf("more than %d MiB of words", maxWords>>20)
	}
	return parse(string(text))
}

// parse keeps one copy of the text: words and definitions are parts of it.
func parse(text string) (*Dictionary, error) {
	d := &Dictionary{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		word, rest, _ := strings.Cut(line, "\t")
		part, meaning, found := strings.Cut(rest, "\t")
		switch {
		case !found:
			return nil, fmt.Errorf("line %d: %.40q is not a word, a part of speech and a definition with tabs between", n, line)
		case len(line) > maxLine:
			return nil, fmt.Errorf("line %d: more than %d bytes", n, maxLine)
		case !valid(word):
			return nil, fmt.Errorf("line %d: %.40q is not a word", n, word)
		case !utf8.ValidString(line) || strings.ContainsFunc(part+meaning, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return nil, fmt.Errorf("line %d: %s: the definition is not text", n, word)
		}
		if last := len(d.entries) - 1; last >= 0 && d.entries[last].Word == word {
			d.entries[last].Definitions = append(d.entries[last].Definitions, Definition{part, meaning})
			continue
		}
		d.entries = append(d.entries, Entry{word, []Definition{{part, meaning}}})
	}
	if len(d.entries) == 0 {
		return nil, errors.New("no words")
	}
	slices.SortStableFunc(d.entries, func(a, b Entry) int { return cmp.Compare(a.Word, b.Word) })
	return d, d.twice()
}

// twice is an error if a word stands in two places.
func (d *Dictionary) twice() error {
	for i := 1; i < len(d.entries); i++ {
		if d.entries[i].Word == d.entries[i-1].Word {
			return fmt.Errorf("%s stands in two places: its lines must follow each other", d.entries[i].Word)
		}
	}
	return nil
}

// valid says whether a text is a word as this program has them: lower case, with dashes inside.
func valid(word string) bool {
	if word == "" || len(word) > maxWord || word[0] == '-' || word[len(word)-1] == '-' {
		return false
	}
	for i := range len(word) {
		if c := word[i]; (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return true
}

// Len is how many words there are.
func (d *Dictionary) Len() int { return len(d.entries) }

// Find is a word's entry.
func (d *Dictionary) Find(word string) (Entry, bool) {
	i, found := d.index(word)
	if !found {
		return Entry{}, false
	}
	return d.entries[i], true
}

func (d *Dictionary) index(word string) (int, bool) {
	return slices.BinarySearchFunc(d.entries, word, func(e Entry, w string) int { return cmp.Compare(e.Word, w) })
}

// Prefix is up to limit words that begin so, in order, those after a word; more says that there are others.
func (d *Dictionary) Prefix(prefix, after string, limit int) (words []string, more bool) {
	i, _ := d.index(prefix)
	if after >= prefix {
		at, found := d.index(after)
		if found {
			at++
		}
		i = max(i, at)
	}
	words = []string{}
	for ; i < len(d.entries) && strings.HasPrefix(d.entries[i].Word, prefix); i++ {
		if len(words) == limit {
			return words, true
		}
		words = append(words, d.entries[i].Word)
	}
	return words, false
}
