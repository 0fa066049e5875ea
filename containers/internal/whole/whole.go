// Package whole replaces files whole: a reader, or a program that starts after a crash, finds the old content or the new
// one, never a part of either.
//
//	err := whole.Write("/data/cursor.json", text, 0o644)
//
// The way is the one that POSIX gives: a new file in the same folder, written, flushed to the disk, renamed over the old
// one, and the folder flushed too, without which a power cut may take the rename back (rename(2), fsync(2); LWN 457667).
package whole

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Write replaces the file at path, or makes it, with that content and mode (before the umask has no say in it). Where
// path is a symbolic link, the file that it leads to is replaced and the link stays. What it needs is a folder that it
// may write to; what it leaves after an error is the old file, and nothing beside it.
func Write(path string, data []byte, mode fs.FileMode) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), Prefix+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return Sync(filepath.Dir(path))
}

// Prefix begins the names of files that are not whole yet. A program that is killed leaves one behind.
const Prefix = ".new-"

// Sync flushes a folder: what was renamed, made or removed in it survives a power cut then.
func Sync(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Clean removes what Writes that were killed have left in a folder. It is for the one program that writes there, before
// it writes.
func Clean(folder string) error {
	entries, err := os.ReadDir(folder)
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Prefix) && e.Type().IsRegular() {
			errs = append(errs, os.Remove(filepath.Join(folder, e.Name())))
		}
	}
	return errors.Join(append(errs, err)...)
}
