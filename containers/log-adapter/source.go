package main

import "time"

// source is a stream with what is kept of it beside its lines.
type source struct {
	*Stream
	envelope   string
	parts      map[string]*partial // of docker's lines, by output
	subs       map[string]*source
	tokens     float64
	filled     time.Time
	suppressed int64
	events     int64
	file       bool
	used       time.Time
}

// partial is a line of which the engine has written pieces.
type partial struct {
	text  string
	at    time.Time
	cut   bool
	batch int
}

func (a *Adapter) stream(key, name string, in *Input) *source {
	s := a.streams[key]
	if s == nil {
		s = a.newSource(name, in)
		a.streams[key] = s
	}
	s.used = time.Now()
	return s
}

func (a *Adapter) newSource(name string, in *Input) *source {
	clock := *a.Clock
	s := &source{Stream: &Stream{Limits: &a.Limits, Clock: &clock, Source: name, Original: a.Original}, envelope: in.Envelope}
	switch in.Format {
	case "auto":
	case "pattern":
		s.Told = a.Pattern
	default:
		s.Told = formats[in.Format]
	}
	s.flushed = true // what came before may have been written by an earlier run
	s.tokens, s.filled = float64(a.Rate), time.Now()
	s.Emit = func(e *Event) { a.emit(s, e) }
	return s
}

// sub is the stream of one output of a container.
func (a *Adapter) sub(s *source, name string) *source {
	sub := s.subs[name]
	if sub == nil {
		sub = a.newSource(s.Source, &Input{Format: "auto"})
		sub.Told = s.Told
		if s.subs == nil {
			s.subs, s.parts = map[string]*source{}, map[string]*partial{}
		}
		s.subs[name] = sub
	}
	return sub
}

// add gives a line to its stream, without what an engine has put around it.
func (a *Adapter) add(s *source, text string, now time.Time, cut bool) {
	if s.envelope == "" {
		s.Add(text, now, a.number, cut)
		return
	}
	name, log, at, part, ok := unwrap(s.envelope, text)
	if !ok || name != "stdout" && name != "stderr" {
		s.Add(text, now, a.number, cut)
		return
	}
	sub := a.sub(s, name)
	p := s.parts[name]
	if p == nil {
		p = &partial{at: at, batch: a.number}
		s.parts[name] = p
	}
	if room := a.MaxLine - len(p.text); len(log) > room {
		log, p.cut = log[:room], true
	}
	p.text += log
	if part {
		return
	}
	delete(s.parts, name)
	sub.Stamp = p.at
	sub.Add(p.text, now, p.batch, p.cut || cut)
}

// oldest is the batch in which what is held began.
func (s *source) oldest(n int) int {
	if s.held() {
		n = min(n, s.batch)
	}
	for _, p := range s.parts {
		n = min(n, p.batch)
	}
	for _, sub := range s.subs {
		n = sub.oldest(n)
	}
	return n
}

func (s *source) all() (list []*source) {
	for _, sub := range s.subs {
		list = append(list, sub)
	}
	return list
}
