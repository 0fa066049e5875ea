package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// States of a source in an answer.
const (
	stateOK         = "ok"         // read to its end, which was one
	stateMore       = "more"       // there is more of it than this page has
	stateUnread     = "unread"     // it comes in a later page
	stateDown       = "down"       // there was nothing to read
	stateIncomplete = "incomplete" // it broke off
	stateRefused    = "refused"    // it is not what it should be, or wants more than it may have
)

// Outcome is what came of reading a source. Records and Rejected are those that were read for this answer.
type Outcome struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Records  int    `json:"records"`
	Rejected int    `json:"rejected"`
	Error    string `json:"error,omitempty"`
}

func (o Outcome) failed() bool {
	return o.State == stateDown || o.State == stateIncomplete || o.State == stateRefused
}

// Problem is a record that could not be read.
type Problem struct {
	Source string `json:"source"`
	Record int    `json:"record"`         // from 1, bad ones counted
	Line   int    `json:"line,omitempty"` // of the source, from 1
	Offset int64  `json:"offset"`         // in bytes, decoded where the format is text
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
	Raw    string `json:"raw"`
}

// Limits bound what a source may do to who reads it.
type Limits struct {
	Record   int // bytes
	Source   int64
	Rejected int           // bad records, after which a source is not read on
	Idle     time.Duration // without a byte
}

// Puller reads sources.
type Puller struct {
	Client *http.Client
	Limits Limits
	Whole  bool // take a source into memory before it is read
	Skip   bool // leave bad records out without a word
	m      *metrics
}

// errStop ends a pass because no more is wanted.
var errStop = errors.New("no more is wanted")

// pass reads one source once, as a stream. Each record is given to each, each bad one to rejected, with its number; an error
// of theirs ends the pass.
func (p *Puller) pass(
	ctx context.Context, schema *Schema, src *Source, each func(n int, values []value) error, rejected func(Problem) error,
) (o Outcome) {
	o = Outcome{Name: src.Name, State: stateOK}
	begun := time.Now()
	defer func() { p.m.passed(o, time.Since(begun)) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := p.open(ctx, src)
	if err != nil {
		o.State, o.Error = stateDown, clip(plain(ctx, err))
		return o
	}
	defer body.Close()
	in := &patient{r: body, idle: p.Limits.Idle, left: p.Limits.Source, cancel: cancel}
	r, err := p.reader(src, in)
	for err == nil {
		err = p.one(schema, src, r, &o, each, rejected)
	}
	p.m.bytes.WithLabelValues(src.Name).Add(float64(in.read))
	var broken errBroken
	switch {
	case err == io.EOF:
	case errors.Is(err, errStop):
		o.State = stateMore
	case in.over != nil:
		o.State, o.Error = stateRefused, in.over.Error()
	case errors.As(err, &broken):
		o.State, o.Error = stateIncomplete, clip(plain(ctx, err))
	default:
		o.State, o.Error = stateRefused, clip(err.Error())
	}
	return o
}

// one reads one record.
func (p *Puller) one(
	schema *Schema, src *Source, r reader, o *Outcome, each func(int, []value) error, rejected func(Problem) error,
) error {
	raw, err := r.Next()
	var values []value
	if err == nil {
		values, err = schema.values(src, raw)
	}
	var odd *badError
	var trailer trailerSeen
	switch {
	case err == nil:
		o.Records++
		p.m.records.WithLabelValues(src.Name).Inc()
		return each(o.Records+o.Rejected, values)
	case errors.As(err, &odd):
		if p.Skip {
			return nil
		}
		o.Rejected++
		p.m.rejected.WithLabelValues(src.Name, odd.Reason).Inc()
		if o.Rejected > p.Limits.Rejected {
			return refuse("more than %d bad records", p.Limits.Rejected)
		}
		return rejected(Problem{
			Source: src.Name, Record: o.Records + o.Rejected, Line: raw.line, Offset: raw.offset,
			Field: odd.Field, Reason: odd.Reason, Detail: odd.Why, Raw: clip(raw.text),
		})
	case errors.As(err, &trailer):
		return p.last(src, r, trailer, o)
	case err == io.EOF && src.Trailer != nil:
		return errBroken{errors.New("it ends without its trailer")}
	}
	return err
}

// last compares the trailer with what was read. Nothing may come after it.
func (p *Puller) last(src *Source, r reader, t trailerSeen, o *Outcome) error {
	if _, err := r.Next(); err != io.EOF {
		var broken errBroken
		if errors.As(err, &broken) {
			return err
		}
		return errBroken{errors.New("something follows its trailer")}
	}
	n := o.Records + o.Rejected
	counted := src.Trailer.Count > 0 || src.Trailer.At != nil
	if want := strings.TrimLeft(strings.TrimSpace(t.text), "0"); counted && !p.Skip && want != fmt.Sprint(n) && (want != "" || n > 0) {
		return errBroken{fmt.Errorf("its trailer counts %q records, and there are %d", clip(t.text), n)}
	}
	return io.EOF
}

// values are a raw record's, in the schema's order.
func (s *Schema) values(src *Source, raw row) ([]value, error) {
	values := make([]value, len(s.Fields))
	for i := range s.Fields {
		v, err := s.Fields[i].value(src.froms[i], raw.values[i], raw.there[i])
		if err != nil {
			return nil, inField(s.Fields[i].Name, err)
		}
		values[i] = v
	}
	return values, nil
}

// reader is the source's format's.
func (p *Puller) reader(src *Source, in io.Reader) (reader, error) {
	if p.Whole {
		all, err := io.ReadAll(in)
		if err != nil {
			return nil, errBroken{err}
		}
		in = strings.NewReader(string(all))
	}
	if src.Format != "fixed" {
		in = decoded(in, src.Encoding)
	}
	switch src.Format {
	case "csv":
		return newCSV(src, in, p.Limits.Record)
	case "fixed":
		return newFixed(src, in, p.Limits.Record)
	case "xml":
		return newXML(src, in, p.Limits.Record)
	case "jsonl":
		return newLines(src, in, p.Limits.Record), nil
	}
	return newJSON(src, in, p.Limits.Record)
}

// open is the source's content, once there is an answer.
func (p *Puller) open(ctx context.Context, src *Source) (io.ReadCloser, error) {
	if src.File != "" {
		f, err := os.Open(src.File)
		if err != nil {
			return nil, err
		}
		st, err := f.Stat()
		switch {
		case err != nil:
		case !st.Mode().IsRegular():
			err = fmt.Errorf("%s: not a file", src.File)
		case time.Since(st.ModTime()) < src.stable:
			err = fmt.Errorf("%s: it was written to less than %v ago", src.File, src.stable)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, src.URL, nil)
	if err != nil {
		return nil, err
	}
	res, err := p.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	return res.Body, nil
}

// plain is an error without the address, which may have a password in it.
func plain(ctx context.Context, err error) string {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause.Error()
	}
	var wrapped interface{ Unwrap() error }
	text := err.Error()
	if i := strings.Index(text, `": `); i >= 0 && errors.As(err, &wrapped) && strings.HasPrefix(text, "Get ") {
		text = text[i+len(`": `):]
	}
	return text
}

// patient reads for as long as bytes come, and no more than there may be.
type patient struct {
	r      io.Reader
	idle   time.Duration
	left   int64
	read   int64
	over   error
	cancel context.CancelCauseFunc
}

func (p *patient) Read(b []byte) (int, error) {
	if p.left <= 0 {
		p.over = fmt.Errorf("it is larger than %d bytes", p.read)
		return 0, p.over
	}
	timer := time.AfterFunc(p.idle, func() { p.cancel(fmt.Errorf("nothing came for %v", p.idle)) })
	n, err := p.r.Read(b[:min(int64(len(b)), p.left)])
	timer.Stop()
	p.left -= int64(n)
	p.read += int64(n)
	return n, err
}
