package main

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// RequestLog writes a line of JSON for each request: who was sent where, and
// why. It is what an experiment is evaluated on afterwards. A nil RequestLog
// writes nothing.
type RequestLog struct{ log *slog.Logger }

// NewRequestLog writes to w, a line in one Write.
func NewRequestLog(w io.Writer) *RequestLog {
	return &RequestLog{slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		},
	}))}
}

func (l *RequestLog) write(x *exchange) {
	if l == nil {
		return
	}
	arm, wanted := "", ""
	if x.decision.Arm != nil {
		arm = x.decision.Arm.Name
	}
	if x.decision.Wanted != nil {
		wanted = x.decision.Wanted.Name
	}
	client := ""
	if x.facts.Client.IsValid() {
		client = x.facts.Client.String()
	}
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "request",
		slog.String("client", client), slog.String("method", x.Request.Method), slog.String("host", x.Request.Host),
		slog.String("path", x.facts.Path), slog.Int("code", x.Code()),
		slog.String("arm", arm), slog.String("reason", string(x.decision.Reason)), slog.String("wanted", wanted),
		slog.Bool("assigned", x.decision.Assign),
		slog.Float64("seconds", time.Since(x.Began).Seconds()))
}
