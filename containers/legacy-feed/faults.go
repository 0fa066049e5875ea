package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// modes are the faults.
var modes = []string{"none", "error", "hang", "cut", "half", "bad", "slow", "bomb", "deep", "line", "big"}

// Faults is the fault that is on.
type Faults struct {
	mu     sync.Mutex
	mode   string
	change chan struct{} // closed at each change
}

func newFaults(mode string) *Faults { return &Faults{mode: mode, change: make(chan struct{})} }

// Set changes the fault: what waits for its end goes on.
func (f *Faults) Set(mode string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = mode
	close(f.change)
	f.change = make(chan struct{})
}

func (f *Faults) take() (string, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mode, f.change
}

// ServeHTTP is GET /fault, and POST /fault?mode=bad.
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		mode := r.FormValue("mode")
		if !slices.Contains(modes, mode) {
			http.Error(w, "mode: one of "+strings.Join(modes, ", "), http.StatusBadRequest)
			return
		}
		f.Set(mode)
	}
	mode, _ := f.take()
	fmt.Fprintln(w, mode)
}
