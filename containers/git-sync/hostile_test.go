package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"
)

// Whatever is pushed, the served tree stays as it is, the reason is told, nothing half is left, and the next good
// push is served.
func TestBadCommits(t *testing.T) {
	long := strings.Repeat("n", 256)
	for name, c := range map[string]struct {
		push   func(f *forge)
		reason string
	}{
		"submodule": {func(f *forge) {
			f.pushTree([3]string{"160000", "lib", strings.Repeat("ab", 20)})
		}, `"lib" is a submodule`},
		"link to the root": {func(f *forge) {
			f.pushTree([3]string{"120000", "way", f.blob("/etc/passwd")})
		}, `the link "way" leads out of it, to "/etc/passwd"`},
		"link upwards": {func(f *forge) {
			sub := f.tree([3]string{"120000", "way", f.blob("../../x")})
			f.pushTree([3]string{"40000", "d", sub})
		}, "leads out of it"},
		"link to nothing outside": {func(f *forge) {
			f.pushTree([3]string{"120000", "way", f.blob("../../../../absent/never")})
		}, "leads out of it"},
		"link by way of links": {func(f *forge) {
			c := f.tree([3]string{"120000", "up", f.blob("../..")}) // a/b/up is the root: allowed
			b := f.tree([3]string{"40000", "b", c})
			f.pushTree([3]string{"40000", "a", b}, [3]string{"120000", "out", f.blob("a/b/up/../x")})
		}, `the link "out" leads out of it`},
		"link without end": {func(f *forge) {
			f.pushTree([3]string{"120000", "way", f.blob(strings.Repeat("x/", 3000))})
		}, "is 6000 bytes long"},
		"name too long": {func(f *forge) {
			f.pushTree([3]string{"100644", long, f.blob("x")})
		}, "a name of 256 bytes"},
		"path too long": {func(f *forge) {
			tree := f.tree([3]string{"100644", "x", f.blob("x")})
			for range 20 {
				tree = f.tree([3]string{"40000", long[:250], tree})
			}
			f.pushTree([3]string{"40000", "d", tree})
		}, "Linux holds 4095"},
		".git": {func(f *forge) {
			f.pushTree([3]string{"40000", ".GIT", f.tree([3]string{"100644", "config", f.blob("x")})})
		}, `the name ".GIT"`},
		"dotdot": {func(f *forge) {
			f.pushTree([3]string{"40000", "..", f.tree([3]string{"100644", "x", f.blob("x")})})
		}, `the name ".."`},
		"slash": {func(f *forge) {
			f.pushTree([3]string{"100644", "../x", f.blob("x")})
		}, `the name "../x"`},
		"the same name twice": {func(f *forge) {
			f.pushTree([3]string{"100644", "a", f.blob("x")}, [3]string{"100644", "a", f.blob("y")})
		}, `"a" is there twice`},
		"a link, and a folder of its name": {func(f *forge) {
			sub := f.tree([3]string{"100644", "x", f.blob("x")})
			f.pushTree([3]string{"120000", "a", f.blob("..")}, [3]string{"40000", "a", sub})
		}, `"a" is there twice`},
		"a mode that is none": {func(f *forge) {
			f.pushTree([3]string{"60000", "disk", f.blob("x")})
		}, `"disk" is a submodule`}, // so go-git reads it
		"a tree that is none": {func(f *forge) {
			raw := f.gitIn(f.bare, "garbage", "hash-object", "-w", "-t", "tree", "--literally", "--stdin")
			f.pushTree([3]string{"40000", "d", raw})
		}, "repository corruption on the remote side"},
		"bomb": {func(f *forge) {
			tree := f.tree([3]string{"100644", "x", f.blob("x")})
			for range 10 {
				var ten [][3]string
				for i := range 10 {
					ten = append(ten, [3]string{"40000", fmt.Sprint("d", i), tree})
				}
				tree = f.tree(ten...)
			}
			f.pushTree([3]string{"40000", "d", tree})
		}, "more than MAX_FILES=1000"},
		"file too large": {func(f *forge) {
			f.push(map[string]string{"large": strings.Repeat("x", 1<<20+1)})
		}, "more than MAX_FILE=1MiB"},
		"tree too large": {func(f *forge) {
			same := f.blob(strings.Repeat("x", 1<<20)) // one small object, nine times
			var nine [][3]string
			for i := range 9 {
				nine = append(nine, [3]string{"100644", fmt.Sprint("f", i), same})
			}
			f.pushTree(nine...)
		}, "more than MAX_TREE=8MiB"},
		"too much to fetch": {func(f *forge) {
			noise := make([]byte, 80_000)
			for i := range noise {
				noise[i] = byte((i * i * 7919) >> 7)
			}
			f.push(map[string]string{"noise": string(noise) + fmt.Sprint(time.Now())})
		}, "MAX_FETCH"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			s := follower(t, f)
			good := f.push(map[string]string{"index": "good"})
			round(t, s)
			if name == "too much to fetch" {
				s.Remote.Limits.Fetch = 10_000
			}
			c.push(f)
			for range 2 {
				fails(t, s, c.reason)
				serves(t, f, s, good)
			}
			if halves, _ := filepath.Glob(filepath.Join(s.Site.Root, worktrees, half+"*")); len(halves) > 0 {
				t.Errorf("left: %q", halves)
			}
			f.git(f.clone, "reset", "-q", "--hard", good)
			better := f.push(map[string]string{"index": "better"})
			round(t, s)
			serves(t, f, s, better)
		})
	}
}

func TestSubmodulesIgnored(t *testing.T) {
	f := newForge(t)
	s := follower(t, f, func(s *Syncer) { s.Tree.IgnoreSubmodules = true })
	f.pushTree([3]string{"100644", "a", f.blob("x")}, [3]string{"160000", "lib", strings.Repeat("ab", 20)})
	round(t, s)
	if in, err := os.ReadDir(filepath.Join(s.Site.Root, "live", "lib")); err != nil || len(in) != 0 {
		t.Errorf("the submodule's folder: %v %v", in, err)
	}
	round(t, s) // and the checkout is what the commit says
}

// The issue's own case: a file of more than 100 MB, with the settings' own limit. It costs no memory to refuse.
func TestFileOf200MB(t *testing.T) {
	f := newForge(t)
	s := follower(t, f, func(s *Syncer) {
		l := Limits{Fetch: 1 << 30, File: 100 << 20, Tree: 4 << 30, Files: 100_000}
		s.Remote.Limits, s.Store.Limits, s.Tree.Limits = l, l, l
	})
	good := f.push(map[string]string{"index": "good"})
	round(t, s)
	if err := os.Truncate(filepath.Join(f.clone, "index"), 200<<20); err != nil {
		t.Fatal(err)
	}
	f.push(nil)
	fails(t, s, "an object is 200MiB, more than MAX_FILE=100MiB")
	serves(t, f, s, good)
}

// A remote that says anything but what it should costs a round, in time and in memory bounded.
func TestBadRemotes(t *testing.T) {
	refs := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	}
	result := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/x-git-upload-pack-result") }
	hang := func(w http.ResponseWriter, r *http.Request) {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		<-r.Context().Done()
	}
	isRefs := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/info/refs") }
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request) bool
		reason string
	}{
		"never answers":       {func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, "not done within SYNC_TIMEOUT"},
		"hangs in the header": {func(w http.ResponseWriter, r *http.Request) bool { refs(w); hang(w, r); return true }, "not done within SYNC_TIMEOUT"},
		"hangs in the refs": {func(w http.ResponseWriter, r *http.Request) bool {
			refs(w)
			io.WriteString(w, "001e# service=git-upload-pack\n0000")
			hang(w, r)
			return true
		}, "not done within SYNC_TIMEOUT"},
		"hangs in the pack": {func(w http.ResponseWriter, r *http.Request) bool {
			if isRefs(r) {
				return false
			}
			result(w)
			io.WriteString(w, "0008NAK\n0006\x01P")
			hang(w, r)
			return true
		}, "not done within SYNC_TIMEOUT"},
		"500": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "no", http.StatusInternalServerError)
			return true
		}, "500 Internal"},
		"401": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "no", http.StatusUnauthorized)
			return true
		}, "PASSWORD_PATH"},
		"a web page": {func(w http.ResponseWriter, r *http.Request) bool { io.WriteString(w, "<html>"); return true }, "not a git repository"},
		"a page that says it is git": {func(w http.ResponseWriter, r *http.Request) bool {
			refs(w)
			io.WriteString(w, "<html>")
			return true
		}, "does not speak git's protocol"},
		"refs without end": {func(w http.ResponseWriter, r *http.Request) bool {
			refs(w)
			io.WriteString(w, "001e# service=git-upload-pack\n0000")
			line := fmt.Sprintf("%s refs/heads/%s\n", strings.Repeat("ab", 20), strings.Repeat("x", 60000))
			first := strings.Repeat("ab", 20) + " HEAD\x00ofs-delta\n"
			fmt.Fprintf(w, "%04x%s", len(first)+4, first)
			for i := 0; r.Context().Err() == nil; i++ {
				if _, err := fmt.Fprintf(w, "%04x%s", len(line)+4, line); err != nil {
					return true
				}
			}
			return true
		}, "over a limit"},
		"an SHA-256 repository": {func(w http.ResponseWriter, r *http.Request) bool {
			refs(w)
			line := strings.Repeat("ab", 20) + " HEAD\x00object-format=sha256\n"
			fmt.Fprintf(w, "001e# service=git-upload-pack\n0000%04x%s0000", len(line)+4, line)
			return true
		}, "only SHA-1"},
		"a pack of nothing": {func(w http.ResponseWriter, r *http.Request) bool {
			if isRefs(r) {
				return false
			}
			result(w)
			io.WriteString(w, "0008NAK\n0000")
			return true
		}, errPack.Error()},
		"a pack of noise": {func(w http.ResponseWriter, r *http.Request) bool {
			if isRefs(r) {
				return false
			}
			result(w)
			io.WriteString(w, "0008NAK\n000e\x01PACKnoise0000")
			return true
		}, errPack.Error()},
		"a pack without end": {func(w http.ResponseWriter, r *http.Request) bool {
			if isRefs(r) {
				return false
			}
			result(w)
			io.WriteString(w, "0008NAK\n")
			piece := "ffec\x01" + strings.Repeat("x", 0xffec-5)
			for {
				if _, err := io.WriteString(w, piece); err != nil {
					return true
				}
			}
		}, "MAX_FETCH"},
		"an error of its own": {func(w http.ResponseWriter, r *http.Request) bool {
			if isRefs(r) {
				return false
			}
			result(w)
			io.WriteString(w, "0014ERR go away now\n")
			return true
		}, "fetch:"},
		"hangs up": {func(w http.ResponseWriter, r *http.Request) bool { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			s := follower(t, f)
			good := f.push(map[string]string{"index": "good"})
			round(t, s)
			next := f.push(map[string]string{"index": "next"})
			f.instead(c.answer)
			timeout := s.Timeout
			if strings.Contains(c.reason, "SYNC_TIMEOUT") {
				s.Timeout = 300 * time.Millisecond
			}
			fails(t, s, c.reason)
			serves(t, f, s, good)
			f.instead(nil)
			s.Timeout = timeout
			for range 2 {
				if err := s.Sync(t.Context()); err == nil {
					break
				}
			}
			serves(t, f, s, next)
		})
	}
}

func TestRemoteRefuses(t *testing.T) {
	f := newForge(t)
	s := follower(t, f)
	good := f.push(map[string]string{"index": "good"})
	round(t, s)
	at := *s.Remote.URL
	at.Host = "127.0.0.1:1"
	s.Remote.URL = &at
	fails(t, s, "refused")
	serves(t, f, s, good)
}

// packOf makes a pack by hand: header, and objects as they are given.
func packOf(count uint32, objects ...[]byte) []byte {
	var b bytes.Buffer
	b.WriteString("PACK")
	binary.Write(&b, binary.BigEndian, uint32(2))
	binary.Write(&b, binary.BigEndian, count)
	for _, o := range objects {
		b.Write(o)
	}
	return append(b.Bytes(), make([]byte, 20)...)
}

// objectOf is an object's header of a type and a size, and its content.
func objectOf(kind byte, size uint64, content string) []byte {
	head := []byte{kind<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		head[len(head)-1] |= 0x80
		head = append(head, byte(size&0x7f))
	}
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	io.WriteString(z, content)
	z.Close()
	return append(head, b.Bytes()...)
}

func TestBadPacks(t *testing.T) {
	delta := func(makes uint64) []byte {
		content := string(binary.AppendUvarint(binary.AppendUvarint(nil, 3), makes)) + "\x90\x03"
		head := objectOf(7, uint64(len(content)), content)
		base := bytes.Repeat([]byte{0xab}, 20)
		return append(head[:1:1], append(base, head[1:]...)...)
	}
	for name, c := range map[string]struct {
		pack   []byte
		reason error
	}{
		"empty":                   {nil, errPack},
		"a header alone":          {packOf(0)[:12], errPack},
		"more than it has":        {packOf(1 << 31), errPack},
		"says it is large":        {packOf(1, objectOf(3, 2<<20, "x")), ErrLimit},
		"is larger than it says":  {packOf(1, objectOf(3, 5, strings.Repeat("x", 1<<20))), errPack},
		"is smaller than it says": {packOf(1, objectOf(3, 500, "x")), errPack},
		"makes something large":   {packOf(1, delta(2<<20)), ErrLimit},
		"makes something endless": {packOf(1, delta(1<<63)), ErrLimit},
		"rests on what is not":    {packOf(1, delta(3)), errPack},
		"no such type":            {packOf(1, objectOf(5, 1, "x")), errPack},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := install(t.Context(), dir, bytes.NewReader(c.pack), limits)
			if !errors.Is(err, c.reason) {
				t.Errorf("%v, want %v", err, c.reason)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func FuzzInstall(f *testing.F) {
	f.Add(packOf(0))
	f.Add(packOf(1, objectOf(3, 5, "hello")))
	f.Add(packOf(2, objectOf(3, 5, "hello"), objectOf(6, 4, "\x05\x05\x90\x05")))
	f.Add(packOf(1, objectOf(7, 9, "\x05\x05\x90\x05")))
	small := Limits{Fetch: 1 << 16, File: 1 << 16, Tree: 1 << 16, Files: 10}
	f.Fuzz(func(t *testing.T, pack []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		dir := t.TempDir()
		err := install(ctx, dir, bytes.NewReader(pack), small)
		if ctx.Err() != nil {
			t.Fatal("takes for ever")
		}
		left, _ := os.ReadDir(dir)
		if want := 2; err == nil && len(left) != want || err != nil && len(left) != 0 {
			t.Errorf("%v, and left %v", err, left)
		}
	})
}

// FuzzTree checks a hostile tree out beside a folder that nothing may touch.
func FuzzTree(f *testing.F) {
	blob := plumbing.NewHash(strings.Repeat("ab", 20))
	entry := func(mode, name string) string { return mode + " " + name + "\x00" + string(blob[:]) }
	f.Add([]byte(entry("100644", "a")), "text")
	f.Add([]byte(entry("120000", "a")), "../x")
	f.Add([]byte(entry("120000", "a")+entry("100644", "a")), "/tmp/x")
	f.Add([]byte(entry("100644", "../x")), "x")
	f.Add([]byte(entry("160000", ".git")), "x")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		objects := memory.NewStorage()
		add := func(kind plumbing.ObjectType, data []byte) plumbing.Hash {
			o := objects.NewEncodedObject()
			o.SetType(kind)
			w, _ := o.Writer()
			w.Write(data)
			w.Close()
			hash, err := objects.SetEncodedObject(o)
			if err != nil {
				t.Fatal(err)
			}
			return hash
		}
		real := add(plumbing.BlobObject, []byte(text))
		tree := add(plumbing.TreeObject, bytes.ReplaceAll(raw, blob[:], real[:]))
		home := t.TempDir()
		dir := filepath.Join(home, "in")
		os.Mkdir(dir, 0o755)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		check := Tree{Limits: Limits{File: 1 << 16, Tree: 1 << 16, Files: 50}, IgnoreSubmodules: true}
		err := check.Write(ctx, objects, tree, dir)
		if beside, _ := os.ReadDir(home); len(beside) != 1 {
			t.Fatalf("beside the checkout: %v", beside)
		}
		if err == nil {
			if err := check.Same(ctx, objects, tree, dir); err != nil {
				t.Errorf("checked out, and not the same: %v", err)
			}
		}
	})
}
