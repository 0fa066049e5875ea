package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"distlab/containers/internal/follow"
)

// Sender brings batches to the output, one after the other: the next leaves when the one before is acknowledged, so that
// lines arrive in their order.
type Sender struct {
	Output   Output
	Timeout  time.Duration // for one attempt
	RetryMin time.Duration
	RetryMax time.Duration
	Log      *slog.Logger
	Metrics  *metrics

	failing bool // the last attempt failed, and that was said
}

// Send returns when every record of the batch was acknowledged, or rejected for good, which is counted. Only the end of ctx
// is an error.
func (s *Sender) Send(ctx context.Context, records []follow.Record) error {
	for try := 0; ; try++ {
		begun := time.Now()
		attempt, cancel := context.WithTimeout(ctx, s.Timeout)
		err := s.Output.Send(attempt, records)
		cancel()
		switch {
		case err == nil:
			s.Metrics.batches.WithLabelValues("acknowledged").Inc()
			s.Metrics.sendSeconds.Observe(time.Since(begun).Seconds())
			s.recovered()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errRejected) || errors.Is(err, errTooLarge):
			s.recovered()
			return s.divide(ctx, records, err)
		}
		s.failed(err)
		wait := s.backoff(try)
		if r, is := errors.AsType[retryAfter](err); is {
			wait = min(r.after, s.RetryMax)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// divide finds the lines that cannot be taken: halves are sent, until a half is one line. It is given up.
func (s *Sender) divide(ctx context.Context, records []follow.Record, cause error) error {
	if len(records) > 1 {
		half := len(records) / 2
		if err := s.Send(ctx, records[:half]); err != nil {
			return err
		}
		return s.Send(ctx, records[half:])
	}
	s.Metrics.batches.WithLabelValues("rejected").Inc()
	s.Metrics.dropped("rejected", 1, records[0].End-records[0].Offset)
	s.Log.Warn("line rejected", "error", cause, "path", records[0].Path, "stream", records[0].Stream, "offset", records[0].Offset)
	return nil
}

// backoff doubles from one attempt to the next, with jitter over its whole length: shippers that failed together do not
// come back together.
func (s *Sender) backoff(try int) time.Duration {
	limit := s.RetryMax
	if try < 30 {
		limit = min(limit, s.RetryMin<<try)
	}
	return limit/2 + rand.N(limit/2+1)
}

func (s *Sender) failed(err error) {
	s.Metrics.batches.WithLabelValues("failed").Inc()
	s.Metrics.up.Set(0)
	if !s.failing {
		s.Log.Warn("store away: lines stay in their files", "error", err)
	} else {
		s.Log.Debug("store away", "error", err)
	}
	s.failing = true
}

func (s *Sender) recovered() {
	s.Metrics.up.Set(1)
	if s.failing {
		s.Log.Info("store back")
	}
	s.failing = false
}
