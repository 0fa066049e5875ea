package main

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"distlab/containers/internal/env"
)

// Hold holds memory outside of Go's heap, so that its size is known to the page.
type Hold struct {
	Limit uint64 // of the container; 0: none

	mu   sync.Mutex
	held []byte
}

// Set gives back what is held and takes so much instead, touched page by page. It refuses what the container would be
// killed for.
func (h *Hold) Set(size uint64) error {
	if h.Limit > 0 && size > h.Limit/4*3 {
		return fmt.Errorf("%s is more than three quarters of what the container may have, %s", env.Bytes(size), env.Bytes(h.Limit))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held != nil {
		if err := syscall.Munmap(h.held); err != nil {
			return err
		}
		h.held = nil
	}
	if size == 0 {
		return nil
	}
	held, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return fmt.Errorf("take %s: %w", env.Bytes(size), err)
	}
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = byte(i>>12) | 1
	}
	h.held = held
	return nil
}

// Size is what is held.
func (h *Hold) Size() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return uint64(len(h.held))
}
