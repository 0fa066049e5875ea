//go:build ignore

// Gen makes words.gz of the files that Debian's package wordnet-base puts into a folder:
//
//	go run gen.go /usr/share/wordnet
//
// It takes the single words that WordNet's authors met in their texts (about a quarter of all: those with a tagged sense),
// and of each its most frequent senses. A line is a word, a part of speech and a definition, with tabs between; lines
// of a word follow each other, and the words are sorted.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// senses is how many of a part of speech are taken.
const senses = 4

var single = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("gen.go FOLDER")
	}
	lines := map[string][]string{}
	met := map[string]bool{}
	for _, pos := range []string{"noun", "verb", "adj", "adv"} {
		data, err := os.ReadFile(filepath.Join(os.Args[1], "data."+pos))
		if err != nil {
			log.Fatal(err)
		}
		index, err := os.Open(filepath.Join(os.Args[1], "index."+pos))
		if err != nil {
			log.Fatal(err)
		}
		for s := bufio.NewScanner(index); s.Scan(); {
			f := strings.Fields(s.Text())
			if strings.HasPrefix(s.Text(), " ") || !single.MatchString(f[0]) {
				continue
			}
			pointers, _ := strconv.Atoi(f[3])
			if f[5+pointers] != "0" {
				met[f[0]] = true
			}
			offsets := f[6+pointers:]
			for _, o := range offsets[:min(senses, len(offsets))] {
				lines[f[0]] = append(lines[f[0]], pos+"\t"+gloss(data, o))
			}
		}
	}
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	n := 0
	for _, word := range slices.Sorted(maps.Keys(met)) {
		for _, l := range lines[word] {
			io.WriteString(z, word+"\t"+l+"\n")
			n++
		}
	}
	z.Close()
	if err := os.WriteFile("words.gz", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d words, %d definitions, %d bytes\n", len(met), n, out.Len())
}

// gloss is a synset's definition, without its examples.
func gloss(data []byte, offset string) string {
	at, err := strconv.Atoi(offset)
	if err != nil {
		log.Fatal(err)
	}
	line, _, _ := bytes.Cut(data[at:], []byte("\n"))
	_, text, found := strings.Cut(string(line), " | ")
	if !found {
		log.Fatalf("no gloss at %s", offset)
	}
	text, _, _ = strings.Cut(text, `; "`)
	return strings.Join(strings.Fields(text), " ")
}
