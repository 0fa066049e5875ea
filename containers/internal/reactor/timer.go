package reactor

import "time"

// Timer calls Fire once when its time has come. The zero value with Fire set
// is ready to use; it belongs to one loop.
type Timer struct {
	Fire func()

	when  time.Duration
	place int // in the heap, from 1; 0: not armed
}

// Armed says whether the timer is waiting.
func (t *Timer) Armed() bool { return t.place != 0 }

// Arm has the timer fire d from now, not before; armed already, it moves.
func (l *Loop) Arm(t *Timer, d time.Duration) {
	t.when = l.now + d
	if t.place == 0 {
		l.timers = append(l.timers, t)
		t.place = len(l.timers)
	}
	l.timers.up(t.place - 1)
	l.timers.down(t.place - 1)
}

// Disarm keeps the timer from firing.
func (l *Loop) Disarm(t *Timer) {
	if t.place != 0 {
		l.timers.remove(t.place - 1)
	}
}

// fire fires what is due. A timer that is armed anew by what it fires is not
// due in this round, since the loop's clock stands still: unless it is armed for
// no time at all, which would never end, and is therefore left for the next.
func (l *Loop) fire() {
	for due := len(l.timers); due > 0 && len(l.timers) > 0 && l.timers[0].when <= l.now; due-- {
		t := l.timers[0]
		l.timers.remove(0)
		t.Fire()
	}
}

// untilTimer is how long the loop may wait, -1 for ever.
func (l *Loop) untilTimer() time.Duration {
	if len(l.timers) == 0 {
		return -1
	}
	return max(0, l.timers[0].when-time.Since(epoch))
}

// heap is a binary heap of timers, the next first.
type heap []*Timer

func (h heap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h heap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].when <= h[i].when {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h heap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].when < h[least].when {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h *heap) remove(i int) {
	last := len(*h) - 1
	h.swap(i, last)
	(*h)[last].place = 0
	(*h)[last] = nil
	*h = (*h)[:last]
	if i < last {
		h.up(i)
		h.down(i)
	}
}
