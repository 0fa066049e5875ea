package follow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"io"
	"io/fs"
	"syscall"
)

// ID is where a file lies: it outlives a rename. Filesystems give an inode again as soon as the file is gone, so it is never
// believed alone.
type ID struct {
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
}

// idOf is a file's ID. All files here come from a Unix.
func idOf(info fs.FileInfo) ID {
	st := info.Sys().(*syscall.Stat_t)
	return ID{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev is 32 bits wide on some
}

// printBytes is how many of a file's first bytes make its fingerprint. A shorter file's is made of what there is, and
// grows with it.
const printBytes = 256

// markerBytes is how many bytes before an offset make the marker of that offset.
const markerBytes = 64

// Fingerprint is a hash of a file's first Bytes bytes.
type Fingerprint struct {
	Bytes int64  `json:"bytes"`
	Sum   string `json:"sum,omitempty"`
}

func fingerprint(r io.ReaderAt, n int64) (Fingerprint, error) {
	if n = min(n, printBytes); n == 0 {
		return Fingerprint{}, nil
	}
	buf := make([]byte, n)
	if _, err := r.ReadAt(buf, 0); err != nil {
		return Fingerprint{}, err
	}
	sum := sha256.Sum256(buf)
	return Fingerprint{n, hex.EncodeToString(sum[:8])}, nil
}

// Position is an offset in a file, with a marker of what stands before it: size alone cannot tell a file that was
// truncated and has grown past the offset since.
type Position struct {
	Offset int64  `json:"offset"`
	Marker uint64 `json:"marker,omitempty"`
}

func markerOf(tail []byte) uint64 {
	if len(tail) == 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write(tail)
	return h.Sum64()
}

// positionAt is the position of an offset as the file is now.
func positionAt(r io.ReaderAt, offset int64) (Position, error) {
	tail, err := tailAt(r, offset)
	return Position{offset, markerOf(tail)}, err
}

// tailAt are the bytes before an offset that make its marker.
func tailAt(r io.ReaderAt, offset int64) ([]byte, error) {
	buf := make([]byte, min(offset, markerBytes))
	if len(buf) == 0 {
		return nil, nil
	}
	_, err := r.ReadAt(buf, offset-int64(len(buf)))
	return buf, err
}

// holds says whether the file still has before a position what it had. A file that has become too short has not.
func (p Position) holds(r io.ReaderAt) bool {
	now, err := positionAt(r, p.Offset)
	return err == nil && now == p
}

// holds says whether the file still begins as it did.
func (f Fingerprint) holds(r io.ReaderAt) bool {
	now, err := fingerprint(r, f.Bytes)
	return err == nil && now == f
}

// prefixOf says whether r, size bytes long, is the beginning of the original, as a copy is that is being made: its first
// bytes and its last are compared.
func prefixOf(r, original io.ReaderAt, size int64) bool {
	n := min(size, printBytes)
	return sameAt(r, original, 0, n) && sameAt(r, original, size-n, n)
}

func sameAt(a, b io.ReaderAt, at, n int64) bool {
	x, y := make([]byte, n), make([]byte, n)
	if _, err := a.ReadAt(x, at); err != nil {
		return false
	}
	_, err := b.ReadAt(y, at)
	return err == nil && bytes.Equal(x, y)
}
