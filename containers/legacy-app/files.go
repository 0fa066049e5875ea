package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Errors of Put that are the client's to know.
var (
	errTooLarge = errors.New("file too large")
	errNoSpace  = errors.New("no space for uploads")
)

// maxFiles bounds the number of files, as UPLOAD_SPACE does their size.
const maxFiles = 1000

// partial is the prefix of files that are being uploaded. No name that
// cleanName makes begins with it.
const partial = ".partial-"

// Files keeps the uploaded files, in memory or in a folder. Their total size,
// those being uploaded included, is bounded: the oldest make room.
type Files struct {
	root  *os.Root // nil: in memory
	space int64

	mu      sync.Mutex
	files   map[string]*stored
	used    int64 // by files and by uploads under way
	uploads int   // so far: names the partial ones
}

type stored struct {
	File
	added time.Time
	data  []byte // in memory only
}

// File is what is known of an uploaded file.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// OpenFiles keeps files in dir, or in memory if dir is empty. What is in dir
// already stays; uploads that were cut are removed.
func OpenFiles(dir string, space int64) (*Files, error) {
	f := &Files{space: space, files: map[string]*stored{}}
	if dir == "" {
		return f, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f.root = root
	if err := f.scan(); err != nil {
		root.Close()
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	return f, nil
}

// Close lets go of the folder.
func (f *Files) Close() error {
	if f.root == nil {
		return nil
	}
	return f.root.Close()
}

func (f *Files) scan() error {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), partial) {
			if err := f.root.Remove(e.Name()); err != nil {
				return err
			}
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && cleanName(e.Name()) == e.Name() {
			f.files[e.Name()] = &stored{File: File{Name: e.Name(), Size: info.Size()}, added: info.ModTime()}
			f.used += info.Size()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.makeRoom(0)
}

// Put keeps what r gives, of at most max bytes, under a cleaned name, and
// replaces a file of that name.
func (f *Files) Put(name string, r io.Reader, max int64) (File, error) {
	dst, err := f.create()
	if err != nil {
		return File{}, err
	}
	hash := sha256.New()
	size, err := f.fill(io.MultiWriter(dst, hash), r, max)
	if err == nil {
		err = dst.Close()
	}
	if err != nil {
		f.discard(dst, size)
		return File{}, err
	}
	file := File{Size: size, SHA256: hex.EncodeToString(hash.Sum(nil))}
	if file.Name = cleanName(name); file.Name == "" {
		file.Name = "file-" + file.SHA256[:12]
	}
	return file, f.keep(dst, file)
}

// fill copies r, and takes the space before it uses it. size is what was
// taken, on an error too.
func (f *Files) fill(w io.Writer, r io.Reader, max int64) (size int64, err error) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if size+int64(n) > max {
			return size, errTooLarge
		}
		if n > 0 {
			f.mu.Lock()
			full := f.makeRoom(int64(n))
			f.mu.Unlock()
			if full != nil {
				return size, full
			}
			size += int64(n)
			if _, err := w.Write(buf[:n]); err != nil {
				return size, err
			}
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

// makeRoom takes n bytes of the space; the oldest files give way. f.mu is held.
func (f *Files) makeRoom(n int64) error {
	for f.used+n > f.space || len(f.files) > maxFiles {
		if len(f.files) == 0 {
			return errNoSpace
		}
		oldest := slices.MinFunc(mapValues(f.files), func(a, b *stored) int {
			return cmp.Or(a.added.Compare(b.added), strings.Compare(a.Name, b.Name))
		})
		if f.root != nil {
			if err := f.root.Remove(oldest.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		delete(f.files, oldest.Name)
		f.used -= oldest.Size
	}
	f.used += n
	return nil
}

func mapValues(m map[string]*stored) []*stored {
	list := make([]*stored, 0, len(m))
	for _, s := range m {
		list = append(list, s)
	}
	return list
}

// Open finds a file. Who gets it must close it.
func (f *Files) Open(name string) (io.ReadSeekCloser, time.Time, error) {
	f.mu.Lock()
	s, ok := f.files[name]
	f.mu.Unlock()
	if !ok {
		return nil, time.Time{}, fs.ErrNotExist
	}
	if f.root == nil {
		return nopCloser{bytes.NewReader(s.data)}, s.added, nil
	}
	file, err := f.root.Open(name)
	return file, s.added, err
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// upload is a file that is being written: on disk or in memory.
type upload struct {
	name string
	file *os.File
	data bytes.Buffer
}

func (f *Files) create() (*upload, error) {
	if f.root == nil {
		return &upload{}, nil
	}
	f.mu.Lock()
	f.uploads++
	u := &upload{name: fmt.Sprint(partial, f.uploads)}
	f.mu.Unlock()
	var err error
	u.file, err = f.root.Create(u.name)
	return u, err
}

func (u *upload) Write(p []byte) (int, error) {
	if u.file == nil {
		return u.data.Write(p)
	}
	return u.file.Write(p)
}

func (u *upload) Close() error {
	if u.file == nil {
		return nil
	}
	return u.file.Close()
}

// discard gives back what an upload that came to nothing took.
func (f *Files) discard(u *upload, size int64) {
	u.Close()
	if f.root != nil {
		f.root.Remove(u.name)
	}
	f.mu.Lock()
	f.used -= size
	f.mu.Unlock()
}

// keep makes a finished upload the file of its name.
func (f *Files) keep(u *upload, file File) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.root != nil {
		if err := f.root.Rename(u.name, file.Name); err != nil {
			f.used -= file.Size
			f.root.Remove(u.name)
			return err
		}
	}
	if old := f.files[file.Name]; old != nil {
		f.used -= old.Size
	}
	f.files[file.Name] = &stored{File: file, added: time.Now(), data: bytes.Clone(u.data.Bytes())}
	return f.makeRoom(0)
}

// cleanName makes a file name of what a client said: its last element, with
// other characters than letters, digits, dot, dash and underscore replaced.
func cleanName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, name)
	name = strings.TrimLeft(name, ".")
	return name[:min(len(name), 100)]
}
