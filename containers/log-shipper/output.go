package main

import (
	"context"
	"errors"
	"time"

	"distlab/containers/internal/follow"
)

// Output takes lines to where they are kept. Send returns nil once they are there: the lines are never sent again then.
type Output interface {
	Send(ctx context.Context, records []follow.Record) error
	Close()
}

// errRejected is the answer that the same lines would get again.
var errRejected = errors.New("rejected")

// errTooLarge is rejection of so many lines at once.
var errTooLarge = errors.New("too large")

// retryAfter is an error whose sender said when to come back.
type retryAfter struct {
	error
	after time.Duration
}

func (e retryAfter) Unwrap() error { return e.error }
