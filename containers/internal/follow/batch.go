package follow

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Record is one line.
type Record struct {
	Stream, Source string
	Path           string // the file's name when it was read
	Offset, End    int64  // of its bytes in the stream, its line end included
	Text           []byte // without the line end
	Truncated      bool   // it was longer than the limit: Text is its beginning
	Partial        bool   // it has no line end, and gets none: its file is finished
}

// Batch is what is sent, and acknowledged, at once. Its records are in the order in which they were read.
type Batch struct {
	Records []Record
	Bytes   int64     // of the text and of what is kept about it
	Made    time.Time // when the first line was read

	text  []byte // the block being filled
	block int    // its size
	ends  map[*Generation]Position
}

// overhead is what a record takes beside its text.
const overhead = 128

func newBatch(now time.Time) *Batch { return &Batch{Made: now, ends: map[*Generation]Position{}} }

// add copies a line into the batch. The copies lie in blocks: to let one grow would leave the old ones to the records.
func (b *Batch) add(r Record) {
	if len(b.text)+len(r.Text) > cap(b.text) {
		b.block = min(max(2*b.block, 4<<10), 256<<10)
		b.text = make([]byte, 0, max(b.block, len(r.Text)))
	}
	from := len(b.text)
	b.text = append(b.text, r.Text...)
	r.Text = b.text[from:len(b.text):len(b.text)]
	b.Records = append(b.Records, r)
	b.Bytes += int64(len(r.Text)) + overhead
}

// reach notes how far a batch's acknowledgement brings a generation.
func (b *Batch) reach(g *Generation) {
	if _, has := b.ends[g]; !has {
		g.flying++
	}
	b.ends[g] = g.read
}

// Key names records by where they are from: the same lines sent again have the same key.
func Key(records []Record) string {
	h := sha256.New()
	for _, r := range records {
		fmt.Fprintf(h, "%s:%d-%d\n", r.Stream, r.Offset, r.End)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
