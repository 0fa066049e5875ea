package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files is a build context.
type files []file

type file struct {
	name string // in the context
	path string // on the host; "" for text
	text []byte
	mode fs.FileMode // permission bits
}

// context is what the `prebuilt` stage can copy from: the binary under its name, and the container's own files that are not Go,
// where a build from the repository's root has them too.
func (s *source) context() (files, error) {
	found := files{
		{name: "Dockerfile", path: s.path("Dockerfile"), mode: 0o644},
		{name: s.name, path: s.binary(), mode: 0o755},
	}
	err := walk(s.path("."), func(path string) error {
		if strings.HasSuffix(path, ".go") || filepath.Base(path) == "Dockerfile" {
			return nil
		}
		name, err := filepath.Rel(s.root, path)
		found = append(found, file{name: filepath.ToSlash(name), path: path, mode: 0o644})
		return err
	})
	return found, err
}

// digest identifies the image that the files make on an engine of that architecture.
func (f files) digest(arch string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, arch)
	err := f.writeTo(h)
	return hex.EncodeToString(h.Sum(nil))[:32], err
}

// writeTo writes a tar archive without times or owners: equal files are equal to the engine's cache.
func (f files) writeTo(w io.Writer) error {
	archive := tar.NewWriter(w)
	for _, file := range f {
		if err := file.writeTo(archive); err != nil {
			return err
		}
	}
	return archive.Close()
}

func (f file) writeTo(archive *tar.Writer) error {
	var content io.Reader = bytes.NewReader(f.text)
	size := int64(len(f.text))
	if f.path != "" {
		opened, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer opened.Close()
		info, err := opened.Stat()
		if err != nil {
			return err
		}
		content, size = opened, info.Size()
	}
	err := archive.WriteHeader(&tar.Header{Name: f.name, Size: size, Mode: int64(f.mode.Perm()), Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return err
}
