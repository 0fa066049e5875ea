package main

import (
	"fmt"
	"strings"
	"time"
)

// Limits bound what one event may be, and how long it is waited for.
type Limits struct {
	Lines, Bytes int
	Flush        time.Duration // after an event's last line
	FromFirst    bool          // the wait begins with the first line: it cuts slow traces, and is for showing so
	LineByLine   bool          // nothing is joined: for showing what that is like
}

// Stream is one order of lines: a file, a connection, standard input, or one of the outputs that docker has in a file. Lines of
// one stream can belong together; those of two never do.
type Stream struct {
	Limits   *Limits
	Clock    *Clock
	Source   string
	Told     *Format // nil: detected
	Original bool
	Emit     func(*Event)

	Stamp time.Time // when the line that is added was written, as docker has it
	stamp time.Time // and the first line that is held

	found   *Format // what was detected
	misses  int     // lines since then that it does not know
	heads   bool    // a line that begins a record was seen: others then begin none
	lines   []string
	size    int
	event   *Event // the first line's, if a format knows it
	joins   bool
	python  bool // a Python trace whose last line is to come
	mark    int  // line that begins another trace if a frame follows it; 0: none
	batch   int
	first   time.Time
	last    time.Time
	cut     bool   // lines over the limit were left out of the event that is held
	flushed bool   // the last event was ended by time
	fault   string // of the parser that read the last line
}

// held says that an event waits for more.
func (s *Stream) held() bool { return len(s.lines) > 0 }

// forget is how many misses in a row make a stream's format be detected anew.
const forget = 20

// detect finds the format of a line.
func (s *Stream) detect(line string, e *Event) *Format {
	s.fault = ""
	try := func(f *Format) (ok bool) {
		*e = Event{}
		s.guard(f.Name, func() { ok = f.Parse(s.Clock, line, e) })
		return ok
	}
	if f := s.Told; f != nil {
		if try(f) {
			return f
		}
		return nil
	}
	if s.found != nil {
		if try(s.found) {
			s.misses = 0
			return s.found
		}
		if s.misses++; s.misses <= forget {
			return nil
		}
	}
	for _, name := range detected {
		if f := formats[name]; f != s.found && try(f) {
			s.found, s.misses, s.heads = f, 0, false
			return f
		}
	}
	return nil
}

// guard does what reads a line. A parser's fault costs this line its fields, and not the process its life: the line would be
// read again at the next start, and end that, too.
func (s *Stream) guard(what string, read func()) {
	defer func() {
		if v := recover(); v != nil {
			s.fault = fmt.Sprintf("a fault of the reader of %s: %v", what, v)
		}
	}()
	read()
}

// Add takes the next line.
func (s *Stream) Add(line string, now time.Time, batch int, truncated bool) {
	e := &Event{}
	f := s.detect(line, e)
	kind := plain
	if f == nil {
		kind = classify(line)
		if kind == emptyLine && !s.held() {
			return // it says nothing
		}
	}
	tracing := s.tracing() || f == nil && (s.held() && s.event == nil || kind == begins || kind == pyBegins)
	switch {
	case s.Limits.LineByLine:
		s.Flush()
	case f != nil:
		s.Flush()
		s.heads = s.heads || f.Joins
	case !s.held():
	case s.event != nil && !s.joins:
		s.Flush() // of a format whose events are lines: this one is a bad line
	case s.event != nil && (!s.event.Late || s.heads):
		// A record is open: what begins none is of it.
		s.append(line, now, truncated)
		return
	case tracing && s.continues(line):
		s.append(line, now, truncated)
		return
	default:
		s.Flush()
	}
	late := f == nil && s.flushed && tracing && kind == goesOn && !s.Limits.LineByLine
	s.flushed = false
	if f != nil {
		e.Format = f.Name
		s.event, s.joins = e, f.Joins
	} else {
		s.event, s.joins = nil, tracing
		s.python = kind == pyBegins
	}
	s.begin(line, now, batch, truncated)
	if late {
		s.event = &Event{Body: line, Format: "trace", Late: true}
		s.joins = true
	}
	if !s.joins || s.Limits.LineByLine {
		s.Flush() // nothing can follow
	}
}

// tracing says that what begins no event may belong to a trace.
func (s *Stream) tracing() bool {
	f := s.Told
	if f == nil {
		f = s.found
	}
	return f == nil || f.Joins
}

func (s *Stream) begin(line string, now time.Time, batch int, truncated bool) {
	s.lines, s.size, s.batch, s.first, s.last, s.cut, s.mark = append(s.lines[:0], line), len(line), batch, now, now, truncated, 0
	s.stamp = s.Stamp
}

// append adds a line to the event that is held. What is over the limits ends it, and begins another that says so.
func (s *Stream) append(line string, now time.Time, truncated bool) {
	if len(s.lines) >= s.Limits.Lines || s.size+len(line) > s.Limits.Bytes {
		if classify(line) == emptyLine {
			return // it says nothing
		}
		s.cut = true
		batch := s.batch
		s.Flush()
		s.event, s.joins, s.python = &Event{Body: line, Format: "trace", Late: true}, true, false
		s.begin(line, now, batch, truncated)
		return
	}
	s.lines = append(s.lines, line)
	s.size += len(line) + 1
	s.last = now
	s.cut = s.cut || truncated
}

// continues says whether a line goes on with the trace that is held, where no logger marks records: by the look of both.
func (s *Stream) continues(line string) bool {
	last := s.lines[len(s.lines)-1]
	kind := classify(line)
	if s.mark > 0 && frame(line) {
		// The line before was the first of another trace.
		next := s.lines[s.mark]
		s.lines = s.lines[:s.mark]
		now, batch := s.last, s.batch
		s.Flush()
		s.event, s.joins, s.python = nil, true, false
		s.begin(next, now, batch, false)
		return true
	}
	s.mark = 0
	first := classify(s.lines[0])
	trace := s.event != nil || first == begins || first == pyBegins || first == mayBegin && len(s.lines) > 1
	switch kind {
	case goesOn, chains, emptyLine:
		return true
	case pyBegins:
		if before := strings.TrimSpace(last); before == "" && len(s.lines) > 1 {
			last = s.lines[len(s.lines)-2]
		}
		s.python = true
		return strings.Contains(last, "exception") && classify(strings.TrimLeft(last, " |")) == chains || line == pyGroup && kindOfGroup(last)
	}
	if s.python {
		s.python = strings.HasPrefix(last, pyHead) // its type and message
		return true
	}
	switch kind {
	case begins:
		return false
	case mayBegin:
		if trace {
			s.mark = len(s.lines)
		}
		return trace
	}
	return trace
}

// kindOfGroup says that a line leads to a group of exceptions that is a part of the same trace.
func kindOfGroup(last string) bool { return strings.HasPrefix(strings.TrimLeft(last, " |"), "+-") }

// Due ends what has waited long enough.
func (s *Stream) Due(now time.Time) {
	since := s.last
	if s.Limits.FromFirst {
		since = s.first
	}
	if s.held() && now.Sub(since) >= s.Limits.Flush {
		s.Flush()
		s.flushed = true
	}
}

// Flush emits what is held.
func (s *Stream) Flush() {
	if !s.held() {
		return
	}
	lines := s.lines
	for len(lines) > 1 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	e := s.event
	known := e != nil
	if !known {
		e = &Event{Body: lines[0]}
	}
	if len(lines) > 1 || !known {
		if !known || s.joins {
			s.guard("traces", func() { exception(lines, e, known) })
		}
		if len(lines) > 1 {
			e.Body += "\n" + strings.Join(lines[1:], "\n")
		}
	}
	if !known {
		e.Format = "trace"
		if !hasException(e) {
			e.Format, e.Unparsed = "", s.why()
		}
	}
	if e.Time.IsZero() && !s.stamp.IsZero() {
		e.Time, e.Zone = s.stamp, "Z"
	}
	e.Observed, e.Source, e.Truncated = s.last, s.Source, s.cut
	if s.Original || e.Unparsed != "" {
		e.Original = strings.Join(lines, "\n")
	}
	e.lines = len(lines)
	s.lines, s.size, s.event, s.cut, s.mark, s.python = s.lines[:0], 0, nil, false, 0, false
	s.Emit(e)
}

func hasException(e *Event) bool {
	for _, a := range e.Attrs {
		if a.Key == "exception.type" {
			return true
		}
	}
	return false
}

// why says what was expected of a line.
func (s *Stream) why() string {
	switch {
	case s.fault != "":
		return s.fault
	case s.Told != nil:
		return "not " + s.Told.Name
	case s.found != nil:
		return "not " + s.found.Name
	}
	return "of no known format"
}
