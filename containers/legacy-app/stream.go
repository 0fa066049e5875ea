package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// slow sends its headers and a first part at once, and the rest after the
// delay: what is in flight for that long must survive what happens around it.
// With silent=1 nothing comes before the delay is over.
func (a *App) slow(w http.ResponseWriter, r *http.Request) {
	ms, ok := number(w, r, "ms", int(a.Site.Settings().Slow.Milliseconds()), 0, int(maxSlow.Milliseconds()))
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Please wait %d ms.\n", ms)
	if r.FormValue("silent") != "1" {
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
	}
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		fmt.Fprintln(w, "Thank you for waiting.")
	case <-r.Context().Done(): // nobody waits any more
	}
}

// maxBytes is the largest answer of /bytes.
const maxBytes = 1 << 30

// bytes sends n bytes that are the same every time. Ranges are understood.
func (a *App) bytes(w http.ResponseWriter, r *http.Request) {
	n, ok := number(w, r, "n", 1024, 0, maxBytes)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, &Stream{Size: int64(n)})
}

// Stream is Size bytes that look random and depend on their offset alone.
type Stream struct {
	Size   int64
	offset int64
}

// Read fills p from the offset.
func (s *Stream) Read(p []byte) (int, error) {
	if s.offset >= s.Size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.Size-s.offset)]
	var word [8]byte
	for n := 0; n < len(p); {
		at := s.offset + int64(n)
		binary.LittleEndian.PutUint64(word[:], mix(uint64(at/8)))
		n += copy(p[n:], word[at%8:])
	}
	s.offset += int64(len(p))
	return len(p), nil
}

// Seek sets the offset.
func (s *Stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.offset
	case io.SeekEnd:
		offset += s.Size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	s.offset = offset
	return offset, nil
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
