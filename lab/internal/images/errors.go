package images

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/moby/moby/client"

	"distlab/lab/internal/hint"
)

// engineError says what was being asked of the engine, and gives the usual causes their remedy.
func (im *Images) engineError(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return hint.Wrap(fmt.Errorf("may not use Docker at %s", im.Docker.DaemonHost()),
			"run this as root, or join the docker group: sudo usermod -aG docker $USER, then log in again")
	case client.IsErrConnectionFailed(err):
		return hint.Wrap(fmt.Errorf("cannot reach Docker at %s", im.Docker.DaemonHost()),
			"scripts/setup installs and starts it; lab doctor tells more")
	}
	return diskError(fmt.Errorf("%s: %w", doing, err))
}

// diskError gives a full disk its remedy. The engine and the compilers report it as text only.
func diskError(err error) error {
	if err == nil || !errors.Is(err, syscall.ENOSPC) && !strings.Contains(strings.ToLower(err.Error()), "no space left on device") {
		return err
	}
	return hint.Wrap(err, "the disk is full; see what takes it with: docker system df, then: lab gc, docker system prune, go clean -cache")
}
