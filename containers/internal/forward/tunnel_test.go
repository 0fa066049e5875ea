package forward

import (
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPumpBuffers: who says much gets a large buffer, who is idle keeps a
// small one.
func TestPumpBuffers(t *testing.T) {
	src := &sizes{give: []int{100, 1 << 10, 32 << 10, 20 << 10, 10, 10}}
	if err := pump(io.Discard, src, func() {}); err != nil {
		t.Error(err)
	}
	want := []int{1 << 10, 1 << 10, 32 << 10, 32 << 10, 32 << 10, 1 << 10, 1 << 10}
	if diff := cmp.Diff(want, src.offered); diff != "" {
		t.Errorf("buffers (-want +got):\n%s", diff)
	}
}

// sizes is a reader that keeps what it was offered.
type sizes struct{ give, offered []int }

func (s *sizes) Read(p []byte) (int, error) {
	s.offered = append(s.offered, len(p))
	if len(s.give) == 0 {
		return 0, io.EOF
	}
	n := s.give[0]
	s.give = s.give[1:]
	return n, nil
}
