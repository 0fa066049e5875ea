package forward

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// touchy is a body like net/http's: it must not be read when its exchange is over.
type touchy struct {
	t    *testing.T
	over bool
	read func(p []byte) (int, error)
}

func (b *touchy) Read(p []byte) (int, error) {
	if b.over {
		b.t.Error("read after the end of the exchange")
	}
	return b.read(p)
}
func (b *touchy) Close() error { return nil }

func newBody(src io.ReadCloser) *body {
	return &body{src: src, control: http.NewResponseController(httptest.NewRecorder())}
}

// TestNoReadAfterTheEnd is the other half of golang/go#68560.
func TestNoReadAfterTheEnd(t *testing.T) {
	src := &touchy{t: t, read: func(p []byte) (int, error) { return copy(p, "abc"), nil }}
	b := newBody(src)
	first, second := b.attempt(100, nil), b.attempt(100, nil)
	buf := make([]byte, 10)
	if _, err := first.Read(buf); !errors.Is(err, errGone) {
		t.Errorf("an attempt that was given up: %v", err)
	}
	if n, err := second.Read(buf); n != 3 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	b.finish()
	src.over = true
	for _, a := range []*attempt{first, second, b.attempt(100, nil)} {
		if n, err := a.Read(buf); n != 0 || !errors.Is(err, errGone) {
			t.Errorf("after the end: %d, %v", n, err)
		}
	}
}

// TestPanickingBody: whatever a body does, it ends one request.
func TestPanickingBody(t *testing.T) {
	b := newBody(&touchy{t: t, read: func([]byte) (int, error) { panic("invalid concurrent Body.Read call") }})
	if _, err := b.attempt(100, nil).Read(make([]byte, 10)); err == nil {
		t.Error("no error")
	}
}

// TestWhoseFault: net/http ends the request's context before its body says why.
func TestWhoseFault(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	entered := make(chan struct{})
	b := newBody(&touchy{t: t, read: func([]byte) (int, error) {
		cancel()
		close(entered)
		<-time.After(50 * time.Millisecond)
		return 0, io.ErrUnexpectedEOF
	}})
	x := &Exchange{Request: httptest.NewRequest("POST", "/", nil).WithContext(ctx), body: b}
	go b.attempt(100, nil).Read(make([]byte, 10))
	<-entered
	if got := x.FaultOf(io.EOF); got != BodyBroken {
		t.Errorf("fault %d, want %d", got, BodyBroken)
	}
}
