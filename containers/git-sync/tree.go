package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"golang.org/x/sys/unix"
)

// Tree writes the tree of a commit into a folder, and compares a folder with it. What a commit says is somebody
// else's word: no path of it leads out of the folder, and a few small objects that name each other a million times
// are refused.
type Tree struct {
	Limits           Limits
	IgnoreSubmodules bool
}

// ErrTree says that a commit cannot be checked out, here or ever.
var ErrTree = errors.New("the commit cannot be checked out")

// maxName is what Linux holds in one name of a path, and maxPath in all of it.
const (
	maxName = 255
	maxPath = 4095
)

// visit is called for each entry of a tree, folders before what is in them. blob is nil for a folder.
type visit func(name string, mode filemode.FileMode, blob *object.Blob) error

// walk goes through a tree.
func (t Tree) walk(ctx context.Context, objects storer.EncodedObjectStorer, root plumbing.Hash, f visit) (err error) {
	defer recovered(&err)
	w := walker{Tree: t, ctx: ctx, objects: objects, visit: f}
	return w.folder(root, "")
}

type walker struct {
	Tree
	ctx     context.Context
	objects storer.EncodedObjectStorer
	visit   visit
	entries int
	bytes   int64
}

func (w *walker) folder(hash plumbing.Hash, dir string) error {
	o, err := w.objects.EncodedObject(plumbing.TreeObject, hash)
	if err != nil {
		return fmt.Errorf("%w: folder %q: %w", errStore, dir, err)
	}
	tree, err := object.DecodeTree(w.objects, o)
	if err != nil {
		return fmt.Errorf("%w: folder %q: %w", ErrTree, dir, err)
	}
	for _, e := range tree.Entries {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if err := w.entry(e, path.Join(dir, e.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(e object.TreeEntry, name string) error {
	if w.entries++; w.entries > w.Limits.Files {
		return fmt.Errorf("%w: more than MAX_FILES=%d files", ErrLimit, w.Limits.Files)
	}
	switch {
	case e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") || strings.EqualFold(e.Name, ".git"):
		return fmt.Errorf("%w: the name %q in it", ErrTree, e.Name)
	case len(e.Name) > maxName:
		return fmt.Errorf("%w: a name of %d bytes, %.30q…: Linux holds %d", ErrTree, len(e.Name), e.Name, maxName)
	case len(name) > maxPath:
		return fmt.Errorf("%w: a path of %d bytes, %.30q…: Linux holds %d", ErrTree, len(name), name, maxPath)
	}
	switch e.Mode {
	case filemode.Dir:
		if err := w.visit(name, e.Mode, nil); err != nil {
			return err
		}
		return w.folder(e.Hash, name)
	case filemode.Submodule:
		if !w.IgnoreSubmodules {
			return fmt.Errorf("%w: %q is a submodule, and they are not fetched: SUBMODULES=ignore leaves its folder empty", ErrTree, name)
		}
		return w.visit(name, filemode.Dir, nil)
	case filemode.Regular, filemode.Deprecated, filemode.Executable, filemode.Symlink:
	default:
		return fmt.Errorf("%w: %q has mode %s", ErrTree, name, e.Mode)
	}
	blob, err := object.GetBlob(w.objects, e.Hash)
	if err != nil {
		return fmt.Errorf("%w: file %q: %w", errStore, name, err)
	}
	if blob.Size > w.Limits.File {
		return over(fmt.Sprintf("%q", name), blob.Size, w.Limits.File, "MAX_FILE")
	}
	if e.Mode == filemode.Symlink && blob.Size > maxPath {
		return fmt.Errorf("%w: the link %q is %d bytes long", ErrTree, name, blob.Size)
	}
	if w.bytes += blob.Size; w.bytes > w.Limits.Tree {
		return over("the tree", w.bytes, w.Limits.Tree, "MAX_TREE")
	}
	return w.visit(name, e.Mode, blob)
}

// Write writes a tree into an empty folder and has the disk keep it.
func (t Tree) Write(ctx context.Context, objects storer.EncodedObjectStorer, tree plumbing.Hash, dir string) error {
	root, err := os.OpenRoot(dir) // no name and no link leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	var links []string
	err = t.walk(ctx, objects, tree, func(name string, mode filemode.FileMode, blob *object.Blob) error {
		var err error
		switch mode {
		case filemode.Dir:
			err = errors.Join(root.Mkdir(name, 0o755), root.Chmod(name, 0o755))
		case filemode.Symlink:
			links = append(links, name)
			var target string
			if target, err = text(blob); err == nil {
				err = root.Symlink(target, name)
			}
		default:
			err = file(root, name, perm(mode), blob)
		}
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %q is there twice, or once in another case, which this volume takes for the same", ErrTree, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range links {
		if err := inside(root, name); err != nil {
			return err
		}
	}
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// inside refuses a link that leads out of the tree, by whatever other links. One that leads nowhere is harmless.
func inside(root *os.Root, name string) error {
	_, err := root.Stat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	to, _ := root.Readlink(name)
	return fmt.Errorf("%w: the link %q leads out of it, to %q", ErrTree, name, to)
}

func perm(mode filemode.FileMode) fs.FileMode {
	if mode == filemode.Executable {
		return 0o755
	}
	return 0o644
}

func file(root *os.Root, name string, perm fs.FileMode, blob *object.Blob) error {
	r, err := open(blob)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, r)
	if err == nil && n != blob.Size {
		err = fmt.Errorf("%w: file %q: %d bytes of %d", errStore, name, n, blob.Size)
	}
	return errors.Join(err, f.Chmod(perm), f.Close())
}

// text is the whole of a small blob.
func text(blob *object.Blob) (string, error) {
	r, err := open(blob)
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}

// Same says how a folder differs from a tree: a checkout that a crash or a person has damaged.
func (t Tree) Same(ctx context.Context, objects storer.EncodedObjectStorer, tree plumbing.Hash, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	known := map[string]bool{".": true}
	err = t.walk(ctx, objects, tree, func(name string, mode filemode.FileMode, blob *object.Blob) error {
		known[name] = true
		return same(root, name, mode, blob)
	})
	if err != nil {
		return err
	}
	return fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil && !known[name] {
			err = fmt.Errorf("%q is not of the commit", name)
		}
		return err
	})
}

func same(root *os.Root, name string, mode filemode.FileMode, blob *object.Blob) error {
	st, err := root.Lstat(name)
	if err != nil {
		return err
	}
	differs := fmt.Errorf("%q is not as in the commit", name)
	switch mode {
	case filemode.Dir:
		if !st.IsDir() {
			return differs
		}
		return nil
	case filemode.Symlink:
		want, err := text(blob)
		if err != nil {
			return err
		}
		if got, err := root.Readlink(name); err != nil || got != want {
			return differs
		}
		return nil
	}
	if !st.Mode().IsRegular() || st.Size() != blob.Size || st.Mode().Perm()&0o111 != perm(mode)&0o111 {
		return differs
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := plumbing.NewHasher(plumbing.BlobObject, blob.Size)
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if h.Sum() != blob.Hash {
		return differs
	}
	return nil
}
