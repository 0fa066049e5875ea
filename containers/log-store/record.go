package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Record is one line of a log, as it is sent, kept and shown: a line of JSON.
type Record struct {
	Stream    string  `json:"stream"` // one content of one file; offsets are counted in it
	Offset    int64   `json:"offset"`
	End       int64   `json:"end"`
	Source    string  `json:"source"`
	Host      string  `json:"host,omitempty"`
	Service   string  `json:"service,omitempty"`
	Truncated bool    `json:"truncated,omitempty"`
	Partial   bool    `json:"partial,omitempty"`
	Line      *string `json:"line,omitempty"`
	Base64    string  `json:"line_base64,omitempty"` // of a line that is not UTF-8

	// ID is the record's number here, in the order in which records came.
	ID int64 `json:"id,omitempty"`
}

// maxStream and maxSource bound what the store must remember of what a client says.
const (
	maxStream = 64
	maxSource = 4096
)

func (r *Record) check() error {
	switch {
	case r.Stream == "" || len(r.Stream) > maxStream:
		return errors.New("stream: missing or too long")
	case r.Source == "" || len(r.Source) > maxSource:
		return errors.New("source: missing or too long")
	case r.Offset < 0 || r.End <= r.Offset:
		return fmt.Errorf("offset %d and end %d: not a line", r.Offset, r.End)
	case (r.Line == nil) == (r.Base64 == ""):
		return errors.New("needs line or line_base64, and not both")
	case r.ID != 0:
		return errors.New("id: the store gives it")
	}
	if _, err := base64.StdEncoding.DecodeString(r.Base64); err != nil {
		return errors.New("line_base64: not base64")
	}
	return nil
}

var errTooLarge = errors.New("too large")

// parse reads JSON lines. All are right, or none is taken.
func parse(r io.Reader, most int64) ([]Record, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, errTooLarge
	}
	var records []Record
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if err := rec.check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		records = append(records, rec)
	}
	return records, nil
}
