package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/api/types/jsonstream"

	"distlab/lab/internal/hint"
)

// Save writes the images of needs, substitutes in the place of what they stand in for, as a tar archive that Load and docker
// load read. All must be present: Ensure first.
func (im *Images) Save(ctx context.Context, needs []Need, w io.Writer) error {
	var refs []string
	for _, n := range needs {
		if n.State == ToBuild || n.State == ToPull {
			return hint.Wrap(fmt.Errorf("save images: %s is not there", n.Ref), "lab build, or lab up a lab that needs it")
		}
		if n.Use != "" {
			refs = append(refs, n.Use)
		} else {
			refs = append(refs, n.Ref)
		}
	}
	if len(refs) == 0 {
		return errors.New("save images: there are none")
	}
	archive, err := im.Docker.ImageSave(ctx, refs)
	if err != nil {
		return im.engineError("save images", err)
	}
	defer archive.Close()
	if _, err := io.Copy(w, archive); err != nil {
		return diskError(fmt.Errorf("save images: %w", err))
	}
	return nil
}

// Load reads an archive of Save or docker save, and returns the images that are now there.
func (im *Images) Load(ctx context.Context, r io.Reader) (refs []string, err error) {
	result, err := im.Docker.ImageLoad(ctx, r)
	if err != nil {
		return nil, im.engineError("load images", err)
	}
	defer result.Close()
	for decoder := json.NewDecoder(result); ; {
		var m jsonstream.Message
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return refs, nil
		case err != nil:
			return refs, im.engineError("load images", err)
		case m.Error != nil:
			return refs, diskError(fmt.Errorf("load images: %w", m.Error))
		}
		if ref, ok := strings.CutPrefix(strings.TrimSpace(m.Stream), "Loaded image: "); ok {
			refs = append(refs, ref)
		}
	}
}
