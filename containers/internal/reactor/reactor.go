// Package reactor is an event loop on raw, non-blocking file descriptors:
// epoll, timers, and a way in for other goroutines.
//
// It is for data paths that move small messages between many connections,
// where a goroutine for each connection and a trip through Go's scheduler for
// each message cost more than the work itself. One loop is one goroutine. It
// owns its descriptors and all that their handlers keep, so that none of it
// needs a lock; several loops share nothing.
//
//	l, err := reactor.New()
//	src, err := l.Register(fd, conn) // conn.Ready is called when fd changes
//	err = l.Run()                    // until l.Stop, from any goroutine
//
// Readiness is edge-triggered: a handler is told once when a descriptor
// becomes readable or writable, and again only after it has seen [ErrAgain] (or a
// read shorter than its buffer) or more has come. So each registration costs one
// system call in its life, not two for each change of mind. A handler that
// stops before that, because it has had its turn or may not go on, must
// come back by itself: [Source.Again] puts it at the end of the next round.
//
// Handlers run one after the other and must not block. What is to be done once
// for each round of events, such as writing what many requests have added to
// one buffer, goes into [Loop.After].
//
// It works on Linux. Elsewhere it compiles, and New returns an error.
//
// Source: epoll(7); the order of a round is that of Redis' ae.c; that the
// wait begins out of sight of Go's scheduler is after gnet.
package reactor

import (
	"errors"
	"time"
)

// Event says what a descriptor is ready for; several may be set.
type Event uint8

const (
	Readable Event = 1 << iota // data, a connection to accept, or the end
	Writable                   // room to write, or a connect that has ended
	Hangup                     // the other side will send no more, or the connection has failed: a read tells
	Again                      // asked for by Source.Again
)

// Handler is told of events. It may close any source, its own included.
type Handler interface {
	Ready(Event)
}

// ErrAgain is what a read, write or accept returns that would have to wait.
var ErrAgain = errors.New("would block")

// ErrUnsupported is New's error where there is no epoll.
var ErrUnsupported = errors.New("the event loop needs Linux: no epoll here")

// Source is one registered descriptor.
type Source struct {
	FD      int // -1 once closed
	loop    *Loop
	handler Handler
	index   uint32 // in loop.sources
	queued  bool   // in loop.again
}

// Again has the handler called in the next round, with [Again], whatever the
// descriptor does.
func (s *Source) Again() {
	if s.queued || s.FD < 0 {
		return
	}
	s.queued = true
	s.loop.again = append(s.loop.again, s)
}

// Loop is an event loop. Its methods may be called by its own goroutine alone,
// and before Run, except for Post and Stop.
type Loop struct {
	// After is called at the end of every round, when all handlers have run.
	After func()

	// Hidden is how long a wait is hidden from Go's scheduler at first, in
	// whole milliseconds. While the next event comes within it, as under load,
	// the loop costs the scheduler nothing: a wait that it knows of has it wake
	// other threads, which find nothing to do. But the processor is held
	// meanwhile, and other goroutines have one less: it is for a program whose
	// loops do all the work, and are fewer than its processors. 0, the default,
	// hides no waiting, only looking.
	Hidden time.Duration

	poller  poller
	sources []slot
	free    []uint32 // indexes of sources that may be used again
	again   []*Source
	turn    []*Source // the again of this round
	timers  heap
	now     time.Duration // since epoch, at the beginning of this round
	posts   mailbox
	stop    bool
}

// slot is where a descriptor's events find its source. The generation keeps
// an event for a closed one from its successor in the same slot.
type slot struct {
	source     *Source
	generation uint32
}

var epoch = time.Now()

// Now is the time at which this round began, on a clock that never goes back.
// It costs nothing; within a round it stands still.
func (l *Loop) Now() time.Duration { return l.now }

// Time is Now as a time of day.
func (l *Loop) Time() time.Time { return epoch.Add(l.now) }

func (l *Loop) tick() { l.now = time.Since(epoch) }

// add gives a source its slot.
func (l *Loop) add(s *Source) {
	if n := len(l.free); n > 0 {
		s.index, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s.index = uint32(len(l.sources))
		l.sources = append(l.sources, slot{})
	}
	l.sources[s.index].source = s
}

func (l *Loop) remove(s *Source) {
	at := &l.sources[s.index]
	at.source = nil
	at.generation++
	l.free = append(l.free, s.index)
}

// Sources is the number of registered descriptors.
func (l *Loop) Sources() int { return len(l.sources) - len(l.free) }

// runAgain calls who asked for another turn. Who asks during it waits for the next round.
func (l *Loop) runAgain() {
	l.turn, l.again = l.again, l.turn[:0]
	for i, s := range l.turn {
		l.turn[i] = nil
		s.queued = false
		if s.FD >= 0 {
			s.handler.Ready(Again)
		}
	}
}
