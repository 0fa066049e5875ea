package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"distlab/containers/internal/whole"
)

// Store keeps records in segments, files of JSON lines that are only appended to. What it acknowledges is on the disk. It
// knows of each stream how far it has come, and drops what comes again.
type Store struct {
	Dir     string
	Segment int64 // bytes at which the next begins
	Space   int64 // bytes of all; the oldest segment makes room
	Streams int   // streams remembered; the one that was silent longest is forgotten
	Log     *slog.Logger
	Metrics *metrics

	mu       sync.Mutex
	segments []segment // oldest first; the last is being written
	file     *os.File
	lastID   int64
	streams  map[string]*Stream
	sources  map[string]*Source
	broken   error // an append failed and could not be undone
}

// segment is a file of records: those from first on.
type segment struct {
	first int64
	size  int64
}

// Stream is how far a stream has come.
type Stream struct {
	Source  string `json:"source"`
	Records int64  `json:"records"`
	First   int64  `json:"first"`   // offset of the first record
	End     int64  `json:"end"`     // of the last
	Gaps    int64  `json:"gaps"`    // how often a record did not begin where the one before ended
	Missing int64  `json:"missing"` // bytes in the gaps
	Repeats int64  `json:"repeats"` // records that had come before, and were dropped
	last    int64  // ID of the last record: who was silent longest
}

// Source adds up the streams of one source.
type Source struct {
	Records int64 `json:"records"`
	Streams int64 `json:"streams"`
	Repeats int64 `json:"repeats"`
	Missing int64 `json:"missing"`
}

const (
	segmentPrefix = "records-"
	streamsFile   = "streams.json"
)

func (s *Store) path(first int64) string {
	return filepath.Join(s.Dir, fmt.Sprintf("%s%016d.ndjson", segmentPrefix, first))
}

// Open reads what the folder has. A torn end, of a batch that was never acknowledged, is cut off.
func (s *Store) Open() error {
	s.streams, s.sources = map[string]*Stream{}, map[string]*Source{}
	if err := whole.Clean(s.Dir); err != nil {
		return err
	}
	// What segments that are gone said of their streams.
	if text, err := os.ReadFile(filepath.Join(s.Dir, streamsFile)); err == nil {
		if err := json.Unmarshal(text, &s.streams); err != nil {
			return fmt.Errorf("%s: %w", streamsFile, err)
		}
		for _, st := range s.streams {
			s.source(st.Source).Streams++
			s.sources[st.Source].Records += st.Records
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	names, err := filepath.Glob(filepath.Join(s.Dir, segmentPrefix+"*.ndjson"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for i, name := range names {
		if err := s.load(name, i == len(names)-1); err != nil {
			return err
		}
	}
	if len(s.segments) == 0 {
		return s.roll()
	}
	s.file, err = os.OpenFile(s.path(s.segments[len(s.segments)-1].first), os.O_WRONLY|os.O_APPEND, 0)
	return err
}

func (s *Store) load(name string, last bool) error {
	var first int64
	base := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), segmentPrefix), ".ndjson")
	if _, err := fmt.Sscanf(base, "%d", &first); err != nil {
		return fmt.Errorf("%s: not a segment's name", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	good := int64(0)
	r := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		var rec Record
		if err == io.EOF || json.Unmarshal(line, &rec) != nil {
			if !last {
				return fmt.Errorf("%s: damaged at byte %d", name, good)
			}
			s.Log.Warn("a torn end was cut off", "segment", filepath.Base(name), "at", good)
			if err := os.Truncate(name, good); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return err
		}
		good += int64(len(line))
		s.lastID = max(s.lastID, rec.ID)
		if st := s.streams[rec.Stream]; st == nil || rec.Offset >= st.End {
			s.count(&rec)
		}
	}
	s.segments = append(s.segments, segment{first, good})
	return nil
}

// Add keeps the records that are new and is done when they are on the disk. It says how many were new.
func (s *Store) Add(records []Record) (added, repeats int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, 0, s.broken
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	ends := map[string]int64{} // of streams within this batch
	var fresh []*Record
	again := map[string]int64{}
	for i := range records {
		r := &records[i]
		end, has := ends[r.Stream]
		if st := s.streams[r.Stream]; !has && st != nil {
			end = st.End
		}
		if r.Offset < end {
			repeats++
			again[r.Stream]++
			continue
		}
		ends[r.Stream] = r.End
		r.ID = s.lastID + int64(len(fresh)) + 1
		if err := enc.Encode(r); err != nil {
			return 0, 0, err
		}
		fresh = append(fresh, r)
	}
	if err := s.append(text.Bytes()); err != nil {
		return 0, 0, err
	}
	// Counted once it is kept.
	for _, r := range fresh {
		s.count(r)
	}
	s.lastID += int64(len(fresh))
	for stream, n := range again {
		s.streams[stream].Repeats += n
		s.source(s.streams[stream].Source).Repeats += n
	}
	s.Metrics.records.Add(float64(len(fresh)))
	s.Metrics.repeats.Add(float64(repeats))
	return len(fresh), repeats, nil
}

// append writes, and flushes to the disk. After an error the segment is as it was.
func (s *Store) append(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	seg := &s.segments[len(s.segments)-1]
	if seg.size > 0 && seg.size+int64(len(text)) > s.Segment {
		if err := s.roll(); err != nil {
			return err
		}
		seg = &s.segments[len(s.segments)-1]
	}
	_, err := s.file.Write(text)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		if terr := s.file.Truncate(seg.size); terr != nil {
			s.broken = fmt.Errorf("a torn record cannot be taken back: %w", terr)
		}
		return err
	}
	seg.size += int64(len(text))
	s.Metrics.syncs.Inc()
	return nil
}

// roll begins a segment, and lets the oldest go until there is room for a whole one. What a segment said of its streams is
// kept before it goes: their records may come again.
func (s *Store) roll() error {
	total := int64(0)
	for _, seg := range s.segments {
		total += seg.size
	}
	if len(s.segments) > 0 && total+s.Segment > s.Space {
		text, err := json.Marshal(s.streams)
		if err != nil {
			return err
		}
		if err := whole.Write(filepath.Join(s.Dir, streamsFile), text, 0o600); err != nil {
			return err
		}
		for len(s.segments) > 1 && total+s.Segment > s.Space {
			if err := os.Remove(s.path(s.segments[0].first)); err != nil {
				return err
			}
			total -= s.segments[0].size
			s.segments = s.segments[1:]
			s.Metrics.removed.Inc()
		}
	}
	first := s.lastID + 1
	file, err := os.OpenFile(s.path(first), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := whole.Sync(s.Dir); err != nil {
		file.Close()
		return err
	}
	if s.file != nil {
		s.file.Close()
	}
	s.file = file
	if n := len(s.segments); n == 0 || s.segments[n-1].first != first {
		s.segments = append(s.segments, segment{first, 0})
	}
	return nil
}

func (s *Store) source(name string) *Source {
	if s.sources[name] == nil {
		s.sources[name] = &Source{}
	}
	return s.sources[name]
}

// count brings a record's stream and source up to it.
func (s *Store) count(r *Record) {
	src := s.source(r.Source)
	st := s.streams[r.Stream]
	if st == nil {
		s.forget()
		st = &Stream{Source: r.Source, First: r.Offset, End: r.Offset}
		s.streams[r.Stream] = st
		src.Streams++
	}
	if gap := r.Offset - st.End; gap > 0 {
		st.Gaps++
		st.Missing += gap
		src.Missing += gap
	}
	st.End, st.last = r.End, r.ID
	st.Records++
	src.Records++
}

// forget makes room for a stream.
func (s *Store) forget() {
	if len(s.streams) < s.Streams {
		return
	}
	var name string
	for n, st := range s.streams {
		if name == "" || st.last < s.streams[name].last {
			name = n
		}
	}
	delete(s.streams, name)
	s.Metrics.forgotten.Inc()
}

// Counts are what is known of sources and of streams.
func (s *Store) Counts() (sources map[string]Source, streams map[string]Stream, last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sources, streams = map[string]Source{}, map[string]Stream{}
	for name, src := range s.sources {
		sources[name] = *src
	}
	for name, st := range s.streams {
		streams[name] = *st
	}
	return sources, streams, s.lastID
}

// Read writes the records behind an ID, in their order, until there are as many as asked for. A source chooses.
func (s *Store) Read(w io.Writer, source string, after int64, most int) error {
	s.mu.Lock()
	segments := slices.Clone(s.segments)
	s.mu.Unlock()
	from := 0
	for i, seg := range segments {
		if seg.first <= after+1 {
			from = i
		}
	}
	for _, seg := range segments[from:] {
		// What is being written is whole up to the size that was known.
		n, err := s.readSegment(w, seg, source, after, most)
		if most -= n; err != nil || most <= 0 {
			return err
		}
	}
	return nil
}

func (s *Store) readSegment(w io.Writer, seg segment, source string, after int64, most int) (n int, err error) {
	file, err := os.Open(s.path(seg.first))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // it made room meanwhile
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	r := bufio.NewReaderSize(io.LimitReader(file, seg.size), 256<<10)
	for n < most {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return n, nil
		}
		var rec struct {
			ID     int64  `json:"id"`
			Source string `json:"source"`
		}
		if err := json.Unmarshal(line, &rec); err != nil {
			return n, err
		}
		if rec.ID <= after || source != "" && rec.Source != source {
			continue
		}
		if _, err := w.Write(line); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Close ends the writing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Close()
}
