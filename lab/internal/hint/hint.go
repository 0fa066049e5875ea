// Package hint gives an error a remedy. An error of this project is a fact, then a remedy; the fact travels as the
// error's text, the remedy beside it, so that neither is lost on the way up and only the command line prints them:
//
//	lab: cannot reach Docker at unix:///var/run/docker.sock: connection refused
//	hint: start it: sudo service docker start
package hint

import (
	"errors"
	"fmt"
)

type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Wrap gives err a remedy: one or more whole lines, lower-case, no full stop. The text of the error stays as it is.
// Wrap of nil is nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// New is an error with its remedy.
func New(fact, hint string) error {
	return &hinted{errors.New(fact), hint}
}

// Of is the remedy that belongs to err, or "". Of several, it is the outermost: whoever wrapped last knew most about
// what the person was doing.
func Of(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.hint
	}
	return ""
}
