package reactor

import "sync"

// mailbox is what other goroutines want done on the loop.
type mailbox struct {
	mu     sync.Mutex
	funcs  []func()
	closed bool
	spare  []func() // the loop's own
}

// put is first when the loop has to be woken for it, and false when there is
// no loop any more.
func (m *mailbox) put(f func()) (first, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false, false
	}
	m.funcs = append(m.funcs, f)
	return len(m.funcs) == 1, true
}

// run calls what has come until now.
func (m *mailbox) run() {
	m.mu.Lock()
	batch := m.funcs
	m.funcs = m.spare[:0]
	m.mu.Unlock()
	for i, f := range batch {
		batch[i] = nil
		f()
	}
	m.spare = batch
}

// close takes nothing more in.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.funcs = nil
}
