package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Writer is an app's logging, as many have it: numbered lines, appended to a file that is renamed or copied and truncated
// when it has become large.
type Writer struct {
	Path     string
	Format   string // numbered, java, access or logfmt
	Size     int    // bytes of a line, its end included
	Rotate   string // rename, copytruncate or none
	RotateAt int64  // bytes of the file
	Keep     int    // rotated files
	Metrics  *metrics

	mu        sync.Mutex
	file      *os.File
	size      int64
	last      int64 // number of the last line
	rotations int64
	rest      string // of a line whose beginning is written
	failed    int64  // writes that failed
	slowest   time.Duration
}

// Open begins the log, or goes on behind its last line.
func (w *Writer) Open() error {
	if err := w.open(); err != nil {
		return err
	}
	n, err := lastNumber(w.Path)
	w.last = n
	return err
}

func (w *Writer) open() error {
	file, err := os.OpenFile(w.Path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	w.file, w.size = file, info.Size()
	return nil
}

// lastNumber is the number in the last line of a file.
func lastNumber(path string) (n int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	tail := make([]byte, min(info.Size(), 64<<10))
	if _, err := file.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(tail)) {
		if _, rest, ok := strings.Cut(line, " seq="); ok {
			fmt.Sscanf(rest, "%d", &n)
		}
	}
	return n, nil
}

// line is the next line: when, its number, and filling, the end of which says that it is whole. An event of format java has a
// trace now and then: lines that belong to the one with the number.
func (w *Writer) line(now time.Time, size int) string {
	w.last++
	at := now.UTC().Format("2006-01-02T15:04:05.000000Z")
	head, tail := fmt.Sprintf("%s seq=%d ", at, w.last), fmt.Sprintf(" end=%d\n", w.last)
	switch w.Format {
	case "java":
		head = fmt.Sprintf("%s  INFO [worker-%d] shop.Orders - answered seq=%d ", at, w.last%4, w.last)
		if w.last%traceEvery == 0 {
			head = strings.Replace(head, " INFO", "ERROR", 1)
			tail += fmt.Sprintf(javaTrace, w.last)
		}
	case "access":
		head = fmt.Sprintf(`10.0.0.%d - - [%s] "GET /orders/%d HTTP/1.1" 200 %d "-" "shop/1 seq=%d `,
			1+w.last%250, now.Format("02/Jan/2006:15:04:05 -0700"), 1+w.last%240, 200+w.last%1000, w.last)
		tail = fmt.Sprintf(" end=%d\"\n", w.last)
	case "logfmt":
		head = fmt.Sprintf(`time=%s level=info msg="an order was answered" seq=%d fill=`, at, w.last)
	}
	return head + strings.Repeat("x", max(1, size-len(head)-len(tail))) + tail
}

// traceEvery is how many events have one trace among them, and javaTrace is that.
const (
	traceEvery = 5
	javaTrace  = `java.lang.IllegalStateException: order %d is late
	at shop.Orders.answer(Orders.java:41)
	at java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.net.ConnectException: Connection refused
	... 2 more
`
)

// Text appends a text as it is: what an app has to say that is no numbered line.
func (w *Writer) Text(text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.put(text)
}

// Write appends n lines of that size, 0 for the usual one, and is what numbers they have. A line that cannot be written is counted and its number is not
// given again: a program does not stop because its log is full.
func (w *Writer) Write(n, size int) (first, last int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, size = w.last+1, cmp.Or(size, w.Size)
	for range n {
		if w.RotateAt > 0 && w.size >= w.RotateAt && w.Rotate != "none" {
			err = errors.Join(err, w.rotate(w.Rotate, 0))
		}
		if e := w.put(w.rest + w.line(time.Now(), size)); e != nil {
			err = e
		}
		w.rest = ""
	}
	return first, w.last, err
}

// Control writes as many lines of that size to a file that is no log, and is how long that took: what a write costs on this
// machine now, whoever reads the log.
func (w *Writer) Control(n, size int) (time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	file, err := os.OpenFile(filepath.Join(filepath.Dir(w.Path), "control"), os.O_CREATE|os.O_APPEND|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return 0, err
	}
	text := strings.Repeat("x", cmp.Or(size, w.Size)-1) + "\n"
	begun := time.Now()
	for range n {
		if _, err = file.WriteString(text); err != nil {
			break
		}
	}
	took := time.Since(begun)
	return took, errors.Join(err, file.Truncate(0), file.Close())
}

// Begin writes a part of the next line. What is written next begins with the rest of it.
func (w *Writer) Begin() (number int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rest != "" {
		return w.last, errors.New("a line is begun already")
	}
	line := w.line(time.Now(), w.Size)
	half := len(line) / 2
	if err := w.put(line[:half]); err != nil {
		return 0, err
	}
	w.rest = line[half:]
	return w.last, nil
}

// End writes the rest of the line that was begun.
func (w *Writer) End() (number int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err = w.put(w.rest)
	w.rest = ""
	return w.last, err
}

// RotateNow renames or copies now. late lines are written to the renamed file before the log is opened again, as apps do
// that are told by a signal.
func (w *Writer) RotateNow(how string, late int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rotate(how, late)
}

func (w *Writer) put(text string) error {
	if text == "" {
		return nil
	}
	begun := time.Now()
	n, err := w.file.WriteString(text)
	took := time.Since(begun)
	w.size += int64(n)
	w.slowest = max(w.slowest, took)
	w.Metrics.seconds.Observe(took.Seconds())
	if err != nil {
		w.failed++
		w.Metrics.failed.Inc()
		return err
	}
	w.Metrics.bytes.Add(float64(n))
	return nil
}

func (w *Writer) name(i int) string { return fmt.Sprintf("%s.%d", w.Path, i) }

// rotate is what logrotate does.
func (w *Writer) rotate(how string, late int) error {
	os.Remove(w.name(w.Keep))
	for i := w.Keep - 1; i > 0; i-- {
		os.Rename(w.name(i), w.name(i+1))
	}
	w.rotations++
	w.Metrics.rotations.Inc()
	if how == "copytruncate" {
		if err := copyFile(w.file, w.name(1)); err != nil {
			return err
		}
		w.size = 0
		return w.file.Truncate(0)
	}
	if err := os.Rename(w.Path, w.name(1)); err != nil {
		return err
	}
	var err error
	for range late {
		err = errors.Join(err, w.put(w.rest+w.line(time.Now(), w.Size)))
		w.rest = ""
	}
	old := w.file
	if oerr := w.open(); oerr != nil {
		w.file = old
		return oerr
	}
	return errors.Join(err, old.Close())
}

func copyFile(from *os.File, to string) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(from, 0, 1<<62))
	return errors.Join(err, out.Close())
}

// Status is what /status shows.
type Status struct {
	Path      string  `json:"path"`
	Last      int64   `json:"last"`
	Size      int64   `json:"size"`
	Rotations int64   `json:"rotations"`
	Failed    int64   `json:"failed_writes"`
	Slowest   float64 `json:"slowest_write_seconds"`
}

// Status may be asked for at any time.
func (w *Writer) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Status{w.Path, w.last, w.size, w.rotations, w.failed, w.slowest.Seconds()}
}

// Close ends the log. A line that was begun gets its end.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.put(w.rest), w.file.Close())
}
