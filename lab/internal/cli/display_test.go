package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// screen is a terminal as far as our display uses one: lines, up, erase.
type screen struct {
	width int
	lines [][]rune
	row   int
	col   int
	saved int // the most rows that were ever used
}

var escape = regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)

func (s *screen) write(t *testing.T, text string) {
	for text != "" {
		if m := escape.FindStringSubmatch(text); m != nil {
			s.escape(t, m[1], m[2])
			text = text[len(m[0]):]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		switch r {
		case '\n':
			s.row++
			s.saved = max(s.saved, s.row)
		case '\r':
			s.col = 0
		default:
			if s.col >= s.width {
				t.Errorf("a line is wider than %d columns, and would wrap", s.width)
				s.row, s.col = s.row+1, 0
			}
			s.put(r)
		}
	}
}

func (s *screen) put(r rune) {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, nil)
	}
	for len(s.lines[s.row]) <= s.col {
		s.lines[s.row] = append(s.lines[s.row], ' ')
	}
	s.lines[s.row][s.col] = r
	s.col++
}

func (s *screen) escape(t *testing.T, number, letter string) {
	n, _ := strconv.Atoi(number)
	switch letter {
	case "A":
		if s.row -= n; s.row < 0 {
			t.Error("up beyond what was drawn")
			s.row = 0
		}
	case "J":
		if s.row < len(s.lines) {
			s.lines = s.lines[:s.row]
		}
	case "K":
		if s.row < len(s.lines) {
			s.lines[s.row] = nil
		}
	default:
		t.Errorf("an escape code that this screen does not know: %s%s", number, letter)
	}
}

var clock = regexp.MustCompile(` +\d+\.\d s$`)

// String is the screen without the times, which differ from run to run.
func (s *screen) String() string {
	var out []string
	for _, l := range s.lines {
		out = append(out, clock.ReplaceAllString(strings.TrimRight(string(l), " "), ""))
	}
	return strings.Join(out, "\n")
}

// onTerminal runs what prints to a terminal of that width, and gives what came out.
func onTerminal(t *testing.T, width, height uint16, print func(*os.File)) string {
	t.Helper()
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	if err := pty.Setsize(theirs, &pty.Winsize{Cols: width, Rows: height}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() {
		// A terminal whose last user is gone reports an I/O error.
		if _, err := io.Copy(&out, ours); err != nil && !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
	})
	print(theirs)
	theirs.Close()
	reading.Wait()
	return out.String()
}

func TestDisplayRedraws(t *testing.T) {
	text := onTerminal(t, 80, 24, func(f *os.File) {
		d := (&app{stderr: f, live: true}).display()
		d.set("app", "starting", false, false)
		d.set("store", "pulling", false, false)
		d.line("a line that stays")
		d.set("app", "healthy", true, false)
		d.above(func() { _, _ = f.WriteString("printed above\n") })
		d.set("store", "unhealthy", true, true)
		d.close(true)
		d.set("late", "ignored", false, false)
		d.line("the end")
	})
	s := &screen{width: 80}
	s.write(t, text)
	want := "a line that stays\nprinted above\n ✓ app    healthy\n ✗ store  unhealthy\nthe end"
	if diff := cmp.Diff(want, s.String()); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
}

func TestDisplayGoesAway(t *testing.T) {
	text := onTerminal(t, 80, 24, func(f *os.File) {
		d := (&app{stderr: f, live: true}).display()
		d.set("app", "starting", false, false)
		d.set("store", "starting", false, false)
		d.clear()
		d.set("app", "stopping", false, false)
		d.close(false)
		d.close(true) // once is enough
	})
	s := &screen{width: 80}
	s.write(t, text)
	if got := s.String(); got != "" || s.saved == 0 {
		t.Errorf("screen %q, %d rows were used", got, s.saved)
	}
}

// TestDisplayNarrow cuts lines: one that wraps would throw off the next redraw.
func TestDisplayNarrow(t *testing.T) {
	for _, width := range []uint16{20, 30, 40} {
		text := onTerminal(t, width, 24, func(f *os.File) {
			d := (&app{stderr: f, live: true}).display()
			d.set("distlab/legacy-app:dev", "waiting for another lab that builds images", false, false)
			d.set("x", "a state that is längér than the terminal is wide", true, false)
			d.close(true)
		})
		s := &screen{width: int(width)}
		s.write(t, text)
		for line := range strings.Lines(s.String()) {
			if !strings.HasSuffix(strings.TrimRight(line, "\n"), "…") {
				t.Errorf("width %d: %q is not cut", width, line)
			}
		}
	}
}

// TestDisplayLow shows the newest rows where there are more than the terminal has lines.
func TestDisplayLow(t *testing.T) {
	text := onTerminal(t, 80, 6, func(f *os.File) {
		d := (&app{stderr: f, live: true}).display()
		for i := range 10 {
			d.set("service-"+strconv.Itoa(i), "starting", true, false)
		}
		d.close(true)
	})
	s := &screen{width: 80}
	s.write(t, text)
	want := " ✓ service-6  starting\n ✓ service-7  starting\n ✓ service-8  starting\n ✓ service-9  starting"
	if diff := cmp.Diff(want, s.String()); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
}

// TestDisplayElsewhere writes a line per change, and no escape codes.
func TestDisplayElsewhere(t *testing.T) {
	var out bytes.Buffer
	d := (&app{stderr: &out}).display()
	d.set("app", "starting", false, false)
	d.set("app", "starting", false, false) // nothing new
	d.line("between")
	d.set("app", "healthy", true, false)
	d.clear()
	d.close(true)
	got := regexp.MustCompile(`\d+\.\d s`).ReplaceAllString(out.String(), "T")
	if diff := cmp.Diff("app: starting (T)\nbetween\napp: healthy (T)\n", got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestExplainOnTerminal renders what is Markdown elsewhere, as wide as the terminal is.
func TestExplainOnTerminal(t *testing.T) {
	for _, c := range []struct {
		name   string
		env    []string
		escape bool
	}{
		{"colour", []string{"TERM=xterm", "NO_COLOR="}, true},
		{"NO_COLOR", []string{"TERM=xterm", "NO_COLOR=1"}, false},
		{"dumb", []string{"TERM=dumb", "NO_COLOR="}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := onTerminal(t, 60, 24, func(f *os.File) {
				cmd := command(t, "explain", "tls")
				cmd.Env = append(cmd.Env, c.env...)
				cmd.Stdout = f
				if err := cmd.Run(); err != nil {
					t.Error(err)
				}
			})
			if got := strings.Contains(text, "\x1b"); got != c.escape {
				t.Errorf("escape codes: %v, want %v:\n%s", got, c.escape, text)
			}
			for line := range strings.Lines(text) {
				if n := visible(strings.TrimRight(line, "\r\n")); n > 60 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			for _, not := range []string{"```", "flowchart", "**", "]("} {
				if strings.Contains(text, not) {
					t.Errorf("%q was not rendered:\n%s", not, text)
				}
			}
			for _, want := range []string{"sidecar", "PROXY_PORT", "└ app", "plaintext-closed"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q:\n%s", want, text)
				}
			}
		})
	}
}

// TestExplainIsPaged where it is longer than the terminal and somebody sits there; a pager that is not there is done without.
func TestExplainIsPaged(t *testing.T) {
	for _, c := range []struct {
		pager  string
		height uint16
		prefix string
	}{{"sed s/^/paged:/", 10, "paged:"}, {"sed s/^/paged:/", 500, ""}, {"no-such-pager", 10, ""}} {
		text := onTerminal(t, 60, c.height, func(f *os.File) {
			cmd := command(t, "explain", "tls")
			cmd.Env = append(cmd.Env, "TERM=xterm", "NO_COLOR=1", "PAGER="+c.pager)
			cmd.Stdin, cmd.Stdout = f, f
			if err := cmd.Run(); err != nil {
				t.Error(err)
			}
		})
		for _, want := range []string{"sidecar", "plaintext-closed"} {
			if !strings.Contains(text, want) {
				t.Errorf("%+v: no %q:\n%s", c, want, text)
			}
		}
		if got := strings.HasPrefix(text, "paged:"); got != (c.prefix != "") {
			t.Errorf("%+v: paged %v", c, got)
		}
	}
}
