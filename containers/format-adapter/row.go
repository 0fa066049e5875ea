package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// row is a record as its source has it: text, in the order of the schema's fields.
type row struct {
	line   int // 0: the format has none
	offset int64
	text   string // for people, who look for what is wrong
	values []string
	there  []bool // a value was there, if only an empty one
}

func (r *row) add(value string, there bool) {
	r.values, r.there = append(r.values, value), append(r.there, there)
}

// reader is a source being read. Next's errors: *badError, and the next record can be read; trailerSeen; io.EOF, the source
// has ended as it should; errBroken, it broke off; any other, it is not to be read on.
type reader interface {
	Next() (row, error)
}

// badError is one record that could not be read. Reason is one of a few words, for metrics.
type badError struct {
	Reason, Field, Why string
}

func (e *badError) Error() string {
	if e.Field != "" {
		return e.Field + ": " + e.Why
	}
	return e.Why
}

func bad(reason, format string, args ...any) error {
	return &badError{Reason: reason, Why: fmt.Sprintf(format, args...)}
}

// inField adds the field's name.
func inField(name string, err error) error {
	var b *badError
	if errors.As(err, &b) {
		b.Field = name
	}
	return err
}

// trailerSeen is a record that tells how many there were.
type trailerSeen struct{ text string }

func (t trailerSeen) Error() string { return "the trailer" }

// errBroken is a source that ended before its end.
type errBroken struct{ err error }

func (e errBroken) Error() string { return e.err.Error() }
func (e errBroken) Unwrap() error { return e.err }

// ended turns a read's error into one of reader's.
func ended(err error) error {
	if err == io.EOF || errors.Is(err, errLong) || errors.Is(err, errSkip) {
		return err
	}
	return errBroken{err}
}

// refuse is the error of a source that is not what it should be.
func refuse(format string, args ...any) error { return fmt.Errorf(format, args...) }

// clip is text for an answer: short, and valid.
func clip(s string) string {
	const most = 160
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '␦'
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}
