package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock keeps other processes of this clone from building at the same time: they would compile the same packages twice and
// replace each other's images. The kernel releases it when the process ends, however it ends.
func (im *Images) lock(ctx context.Context) (unlock func(), err error) {
	dir := filepath.Join(im.Root, ".lab")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, diskError(fmt.Errorf("lock the builds: %w", err))
	}
	file, err := os.OpenFile(filepath.Join(dir, "build.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, diskError(fmt.Errorf("lock the builds: %w", err))
	}
	var waited func(string, error)
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		if waited == nil {
			waited = im.step("", Wait, "for another lab that builds images")
		}
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
			continue
		}
		break
	}
	if waited != nil {
		waited("", err)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the builds: %w", err)
	}
	return func() { file.Close() }, nil
}
