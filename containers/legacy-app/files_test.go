package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// both runs a test on files in memory and on files in a folder.
func both(t *testing.T, space int64, f func(t *testing.T, files *Files)) {
	for _, dir := range []string{"", t.TempDir()} {
		name := "memory"
		if dir != "" {
			name = "folder"
		}
		t.Run(name, func(t *testing.T) {
			files, err := OpenFiles(dir, space)
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			f(t, files)
			if files.root != nil {
				if left, _ := filepath.Glob(filepath.Join(dir, partial+"*")); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			}
		})
	}
}

func content(t *testing.T, f *Files, name string) string {
	t.Helper()
	body, _, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFiles(t *testing.T) {
	both(t, 100, func(t *testing.T, f *Files) {
		put := func(name, text string, max int64, wantErr error) {
			t.Helper()
			got, err := f.Put(name, strings.NewReader(text), max)
			if !errors.Is(err, wantErr) {
				t.Fatalf("put %s: %v, want %v", name, err, wantErr)
			}
			if want := (File{Name: name, Size: int64(len(text)), SHA256: sum(text)}); err == nil && got != want {
				t.Errorf("put %s: %+v, want %+v", name, got, want)
			}
		}
		x, y := strings.Repeat("x", 40), strings.Repeat("y", 40)
		put("a", x, 40, nil)
		put("b", y, 100, nil)
		put("a", "new", 100, nil) // replaces, and is now the newest
		put("c", x, 39, errTooLarge)
		put("c", x, 100, nil)
		expect := func(step string, used int64, want map[string]string) {
			t.Helper()
			for name, text := range want {
				if got := content(t, f, name); got != text {
					t.Errorf("%s: %s is %.10q, want %.10q", step, name, got, text)
				}
			}
			if f.used != used {
				t.Errorf("%s: %d bytes used, want %d", step, f.used, used)
			}
		}
		expect("four put", 83, map[string]string{"a": "new", "b": y, "c": x})
		put("d", y, 100, nil)
		expect("the oldest made room", 83, map[string]string{"a": "new", "b": "(none)", "c": x, "d": y})
		put("e", strings.Repeat("z", 101), 1000, errNoSpace)
		expect("more than there is", 0, map[string]string{"a": "(none)", "c": "(none)", "d": "(none)", "e": "(none)"})
		cut := errors.New("cut")
		if _, err := f.Put("f", io.MultiReader(strings.NewReader(x), iotest.ErrReader(cut)), 100); !errors.Is(err, cut) {
			t.Errorf("an upload that is cut: %v", err)
		}
		expect("an upload was cut", 0, map[string]string{"f": "(none)"})
	})
}

func TestFilesAreFewEnough(t *testing.T) {
	both(t, 1<<20, func(t *testing.T, f *Files) {
		for i := range maxFiles + 5 {
			if _, err := f.Put(fmt.Sprint("f", i), strings.NewReader("x"), 10); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.files) != maxFiles || content(t, f, "f4") != "(none)" || content(t, f, "f5") != "x" {
			t.Errorf("%d files, want %d and the oldest gone", len(f.files), maxFiles)
		}
	})
}

// Uploads that run at once share the space, and what they took is given back.
func TestFilesAtOnce(t *testing.T) {
	both(t, 50, func(t *testing.T, f *Files) {
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				_, err := f.Put(fmt.Sprint("f", i%7), iotest.OneByteReader(strings.NewReader(strings.Repeat("x", 10))), 10)
				if err != nil && !errors.Is(err, errNoSpace) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		var size int64
		for _, s := range f.files {
			size += s.Size
			if content(t, f, s.Name) != strings.Repeat("x", 10) {
				t.Errorf("%s is torn", s.Name)
			}
		}
		if f.used != size || size > 50 {
			t.Errorf("%d bytes used, the files have %d, the space 50", f.used, size)
		}
	})
}

// A restart finds the folder's files again, drops cut uploads, and leaves
// alone what it would not have named so.
func TestFilesAfterARestart(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenFiles(dir, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Put("a", strings.NewReader("aaa"), 10); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for name, text := range map[string]string{partial + "7": "cut", "not ours": "x"} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if f, err = OpenFiles(dir, 100); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if content(t, f, "a") != "aaa" || content(t, f, "link") != "(none)" || f.used != 3 {
		t.Errorf("a is %q, link %q, %d bytes used", content(t, f, "a"), content(t, f, "link"), f.used)
	}
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"a", "link", "not ours"}; !slices.Equal(names, want) {
		t.Errorf("folder has %v, want %v", names, want)
	}
	if _, err := OpenFiles(filepath.Join(dir, "none"), 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt": "a.txt", "../../etc/passwd": "passwd", `C:\My Files\ä b.txt`: "__b.txt", "...": "", "": "", ".hidden": "hidden",
		"a/": "", ".partial-1": "partial-1", strings.Repeat("x", 200): strings.Repeat("x", 100), "a\x00\nb": "a__b", "..%2f": "_2f",
	} {
		if got := cleanName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

// FuzzCleanName: a cleaned name stays in its folder, cleans to itself, and is
// never one of an upload under way.
func FuzzCleanName(f *testing.F) {
	for _, name := range []string{"a.txt", "../x", `\..\x`, ".partial-1", "ä"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := cleanName(name)
		if got == "" {
			return
		}
		if filepath.Base(got) != got || got == ".." || strings.HasPrefix(got, ".") || len(got) > 100 || cleanName(got) != got {
			t.Errorf("%q becomes %q", name, got)
		}
	})
}

// uploadedFiles reads the answer to an upload.
func uploadedFiles(t *testing.T, body string) []Uploaded {
	t.Helper()
	var got struct{ Files []Uploaded }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return got.Files
}

func TestUploadRaw(t *testing.T) {
	s := open(t)
	for _, method := range []string{"PUT", "POST"} {
		resp, body := s.do(t, method, "/upload?name=dir/a%20b.txt", strings.NewReader("hello"))
		want := []Uploaded{{File{"a_b.txt", 5, sum("hello")}, "/files/a_b.txt"}}
		if diff := cmp.Diff(want, uploadedFiles(t, body)); diff != "" || resp.StatusCode != 200 {
			t.Errorf("%s: %s (-want +got):\n%s", method, resp.Status, diff)
		}
	}
	_, body := s.do(t, "PUT", "/upload", strings.NewReader("nameless"))
	if got, want := uploadedFiles(t, body)[0].Name, "file-"+sum("nameless")[:12]; got != want {
		t.Errorf("without a name: %s, want %s", got, want)
	}
	resp, body := s.do(t, "GET", "/files/a_b.txt", nil)
	if body != "hello" || resp.Header.Get("Content-Type") != "application/octet-stream" ||
		resp.Header.Get("Content-Disposition") != "attachment; filename=a_b.txt" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("back: %q %v", body, resp.Header)
	}
	if resp, body := s.do(t, "GET", "/files/a_b.txt", nil, "Range", "bytes=1-3"); resp.StatusCode != 206 || body != "ell" {
		t.Errorf("a range back: %s %q", resp.Status, body)
	}
	if resp, _ := s.do(t, "GET", "/files/nothing", nil); resp.StatusCode != 404 {
		t.Errorf("what is not there: %s", resp.Status)
	}
}

func form(t *testing.T, files ...string) (body *bytes.Buffer, kind string) {
	t.Helper()
	body = new(bytes.Buffer)
	w := multipart.NewWriter(body)
	w.WriteField("note", "not a file")
	for i := 0; i < len(files); i += 2 {
		part, err := w.CreateFormFile("file", files[i])
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(part, files[i+1])
	}
	w.Close()
	return body, w.FormDataContentType()
}

func TestUploadForm(t *testing.T) {
	s := open(t)
	body, kind := form(t, "a.txt", "hello", "b.txt", "")
	_, text := s.do(t, "POST", "/upload", body, "Content-Type", kind)
	want := []Uploaded{{File{"a.txt", 5, sum("hello")}, "/files/a.txt"}, {File{"b.txt", 0, sum("")}, "/files/b.txt"}}
	if diff := cmp.Diff(want, uploadedFiles(t, text)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestUploadRefuses(t *testing.T) {
	s := open(t)
	s.Site.state.MaxUpload = 10
	large, largeKind := form(t, "a", "ok", "b", "12345678901")
	many, manyKind := form(t, slices.Repeat([]string{"a", "b"}, maxParts+1)...)
	for _, tt := range []struct {
		name string
		body io.Reader
		kind string
		code int
		says string
	}{
		{"as large as allowed", strings.NewReader("1234567890"), "", 200, ""},
		{"too large", strings.NewReader("12345678901"), "", 413, "larger than 10B"},
		{"too large in a form", large, largeKind, 413, "larger than 10B"},
		{"too many parts", many, manyKind, 400, "more than 100 parts"},
		{"a cut form", strings.NewReader("--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\nab"), "multipart/form-data; boundary=x", 400, "unexpected EOF"},
		{"no boundary", strings.NewReader("x"), "multipart/form-data", 400, "boundary"},
	} {
		resp, body := s.do(t, "POST", "/upload", tt.body, "Content-Type", tt.kind)
		if resp.StatusCode != tt.code || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %s %q, want %d %q", tt.name, resp.Status, body, tt.code, tt.says)
		}
	}
	s.Site.state.MaxUpload = 1 << 30
	if resp, _ := s.do(t, "PUT", "/upload", &Stream{Size: 2 << 20}); resp.StatusCode != 507 {
		t.Errorf("more than the space: %s", resp.Status)
	}
}
