package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A reader by the link finds one checkout or the other at every moment.
func TestPublishLeavesNoGap(t *testing.T) {
	s := &Site{Root: t.TempDir(), Link: "live", KeepFor: time.Hour}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	hashes := []string{strings.Repeat("ab", 20), strings.Repeat("cd", 20)}
	for _, hash := range hashes {
		err := s.Make(hash, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "label"), []byte(hash), 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Publish(hashes[0]); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				text, err := os.ReadFile(filepath.Join(s.Root, "live", "label"))
				if err != nil || string(text) != hashes[0] && string(text) != hashes[1] {
					t.Errorf("read %d: %q (%v)", n, text, err)
					return
				}
			}
		})
	}
	for i := range 100 {
		if err := s.Publish(hashes[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	readers.Wait()
}
