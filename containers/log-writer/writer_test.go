package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func open(t *testing.T, dir string, set func(*Writer)) *Writer {
	t.Helper()
	w := &Writer{Path: filepath.Join(dir, "app.log"), Size: 100, Rotate: "rename", Keep: 2, Metrics: newMetrics(prometheus.NewRegistry())}
	if set != nil {
		set(w)
	}
	if err := w.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func read(t *testing.T, w *Writer, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(w.Path), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLines(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, nil)
	if first, last, err := w.Write(3, 0); first != 1 || last != 3 || err != nil {
		t.Error(first, last, err)
	}
	w.Write(1, 500)
	for i, line := range strings.SplitAfter(strings.TrimSuffix(read(t, w, "app.log"), "\n"), "\n") {
		want := 100
		if i == 3 {
			want = 499 // its end is trimmed here
		}
		if len(line) != want {
			t.Errorf("line %d has %d bytes: %q", i, len(line), line)
		}
	}
	// A restart goes on with the numbers.
	w.Close()
	w = open(t, dir, nil)
	if first, _, _ := w.Write(1, 0); first != 5 {
		t.Errorf("after a restart the number is %d", first)
	}
}

func TestRotation(t *testing.T) {
	w := open(t, t.TempDir(), nil)
	w.Write(2, 0)
	if err := w.RotateNow("rename", 2); err != nil {
		t.Fatal(err)
	}
	w.Write(1, 0)
	if a, b := strings.Count(read(t, w, "app.log.1"), "\n"), strings.Count(read(t, w, "app.log"), "\n"); a != 4 || b != 1 {
		t.Errorf("%d lines in the renamed file, %d in the new one", a, b)
	}
	before, _ := os.Stat(w.Path)
	if err := w.RotateNow("copytruncate", 0); err != nil {
		t.Fatal(err)
	}
	w.Write(1, 0)
	after, _ := os.Stat(w.Path)
	if !os.SameFile(before, after) || after.Size() != 100 || strings.Count(read(t, w, "app.log.1"), "\n") != 1 || strings.Count(read(t, w, "app.log.2"), "\n") != 4 {
		t.Error("copytruncate: not the same file, or not from its start, or no copy")
	}
	w.RotateNow("rename", 0)
	if names, _ := filepath.Glob(w.Path + ".*"); len(names) != 2 {
		t.Errorf("kept %q", names)
	}
}

func TestRotatesByItself(t *testing.T) {
	for _, how := range []string{"rename", "copytruncate", "none"} {
		w := open(t, t.TempDir(), func(w *Writer) { w.Rotate, w.RotateAt = how, 1000 })
		w.Write(25, 0)
		want := int64(2)
		if how == "none" {
			want = 0
		}
		if s := w.Status(); s.Rotations != want {
			t.Errorf("%s: %+v", how, s)
		}
	}
}

func TestHalf(t *testing.T) {
	w := open(t, t.TempDir(), nil)
	if n, err := w.Begin(); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if text := read(t, w, "app.log"); strings.Contains(text, "\n") || text == "" {
		t.Fatalf("half a line is %q", text)
	}
	if _, err := w.Begin(); err == nil {
		t.Error("two lines are begun")
	}
	// What is written next begins with the rest, in the renamed file if it is written there.
	w.RotateNow("rename", 1)
	if text := read(t, w, "app.log.1"); strings.Count(text, "\n") != 2 || !strings.Contains(text, " end=1\n") {
		t.Errorf("the renamed file has %q", text)
	}
	w.Begin()
	w.End()
	if text := read(t, w, "app.log"); !strings.HasSuffix(text, " end=3\n") {
		t.Errorf("the new one has %q", text)
	}
}

// Each format has the number at both ends, and the file ends with what was written as it is.
func TestFormats(t *testing.T) {
	for format, want := range map[string]struct {
		begin string
		lines int
	}{"numbered": {"20", 6}, "java": {"20", 11}, "access": {"10.0.0.2 - - [", 6}, "logfmt": {"time=20", 6}} {
		w := open(t, t.TempDir(), func(w *Writer) { w.Format, w.Size = format, 200 })
		if _, _, err := w.Write(5, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.Text("\tas it is\x00\n"); err != nil {
			t.Fatal(err)
		}
		text := read(t, w, "app.log")
		if !strings.HasPrefix(text, want.begin) || !strings.Contains(text, " seq=5 ") || !strings.Contains(text, " end=5") ||
			!strings.HasSuffix(text, "\tas it is\x00\n") || strings.Count(text, "\n") != want.lines {
			t.Errorf("%s: %q", format, text)
		}
		w.Close()
		if n, err := lastNumber(w.Path); n != 5 || err != nil {
			t.Errorf("%s: the last number is %d, %v", format, n, err)
		}
	}
}

// A full disk stops nothing, and is counted; numbers are not given again.
func TestFull(t *testing.T) {
	w := open(t, t.TempDir(), nil)
	w.Write(1, 0)
	w.file.Close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.file = full
	if _, last, err := w.Write(3, 0); err == nil || last != 4 || w.Status().Failed != 3 {
		t.Errorf("%d, %v, %+v", last, err, w.Status())
	}
}

func TestOrders(t *testing.T) {
	w := open(t, t.TempDir(), nil)
	var rate atomic.Int64
	srv := httptest.NewServer(orders(w, &rate))
	defer srv.Close()
	for path, want := range map[string]int{
		"/lines?n=3": 200, "/text": 200, "/lines?n=3&size=200": 200, "/lines?n=x": 400, "/lines?n=-1": 400, "/lines?n=1000001": 400, "/rotate": 400,
		"/rotate?by=rename&late=2": 200, "/rotate?by=copytruncate": 200, "/rate?n=100": 200, "/control?n=2": 200, "/end": 200, "/nothing": 404,
	} {
		res, err := http.Post(srv.URL+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var s Status
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil || s.Last != 8 {
		t.Errorf("%+v, %v", s, err)
	}
	if diff := cmp.Diff(int64(100), rate.Load()); diff != "" {
		t.Error(diff)
	}
}

func TestPace(t *testing.T) {
	w := open(t, t.TempDir(), nil)
	var rate atomic.Int64
	rate.Store(1000)
	go pace(t.Context(), w, &rate)
	for end := time.Now().Add(30 * time.Second); w.Status().Last < 50; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("does not write by itself")
		}
	}
}
