package check

import (
	"fmt"
	"strings"
	"sync"
)

// Tally counts what was right of all, and keeps a few words on the first that were not. Several goroutines may use it.
type Tally struct {
	mu         sync.Mutex
	right, all int
	odd        []string
}

// oddKept is how many of those that were not right are kept with words.
const oddKept = 5

// Note counts one; where it is not right, the words say what it was.
func (t *Tally) Note(right bool, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all++
	switch {
	case right:
		t.right++
	case len(t.odd) < oddKept:
		t.odd = append(t.odd, fmt.Sprintf(format, args...))
	}
}

// Right is how many were right.
func (t *Tally) Right() int { t.mu.Lock(); defer t.mu.Unlock(); return t.right }

// All is how many were counted.
func (t *Tally) All() int { t.mu.Lock(); defer t.mu.Unlock(); return t.all }

// Wrong is how many were not right.
func (t *Tally) Wrong() int { t.mu.Lock(); defer t.mu.Unlock(); return t.all - t.right }

// Whole says that all were right, and that there was one at all.
func (t *Tally) Whole() bool { return t.All() > 0 && t.Wrong() == 0 }

// Odd are words on the first that were not right.
func (t *Tally) Odd() string { t.mu.Lock(); defer t.mu.Unlock(); return strings.Join(t.odd, "\n") }

func (t *Tally) String() string { return fmt.Sprintf("%d of %d", t.Right(), t.All()) }

// Ways counts the same promise over the ways in which a client can come: HTTP/1.1 and HTTP/2, a first request and a
// thousandth, one name and another. A promise is kept when it is kept in every way.
type Ways struct {
	mu    sync.Mutex
	names []string // in the order in which they were first named
	way   map[string]*Tally
}

// Way is the count of one way. To name it is to promise that it will be asked: a way without an answer breaks the whole.
func (w *Ways) Way(name string) *Tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.way[name] == nil {
		if w.way == nil {
			w.way = map[string]*Tally{}
		}
		w.way[name] = &Tally{}
		w.names = append(w.names, name)
	}
	return w.way[name]
}

// Decide is the claim's result over all ways: how many were right where all were, else the ways in which some were not.
// The details have every way, and what was not as it should be.
func (w *Ways) Decide() Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	right, all := 0, 0
	var broken, details []string
	for _, name := range w.names {
		t := w.way[name]
		right, all = right+t.Right(), all+t.All()
		line := fmt.Sprintf("%s: %v", name, t)
		if !t.Whole() {
			broken = append(broken, line)
		}
		details = append(details, line)
		for odd := range strings.Lines(t.Odd()) {
			details = append(details, "  "+strings.TrimSpace(odd))
		}
	}
	said := fmt.Sprintf("%d of %d in %d ways", right, all, len(w.names))
	if len(broken) > 0 {
		said = strings.Join(broken, ", ")
		if whole := len(w.names) - len(broken); whole > 0 {
			said += fmt.Sprintf("; all in %d other ways", whole)
		}
	}
	res := Decide(len(broken) == 0 && len(w.names) > 0, "%s", said)
	return res.Want("all").Of(all).Because("%s", strings.Join(details, "\n"))
}
