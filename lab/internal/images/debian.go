package images

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"distlab/lab/internal/hint"
)

// debianImage runs scripts/debian-image and returns the reference that it prints. What the script says meanwhile
// becomes events of ref; a last line that begins with "hint: " is the remedy.
func (im *Images) debianImage(ctx context.Context, ref, recipe string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(im.Root, "scripts", "debian-image"), recipe)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+im.Docker.DaemonHost())
	// The script has children (mmdebstrap, apt); all must go, and the script must have time to remove what it unpacked.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second

	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("make an image from the recipe %s: %w", recipe, err)
	}
	var said []string
	var remedy string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if h, ok := strings.CutPrefix(line, "hint: "); ok {
			remedy = h
		} else if line != "" {
			said = append(said, line)
			im.report(Event{Ref: ref, Step: Substitute, Phase: Going, Text: line})
		}
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		said = said[max(0, len(said)-12):]
		err = diskError(fmt.Errorf("make an image from the recipe %s: %w\n%s", recipe, err, strings.Join(said, "\n")))
		if remedy != "" {
			err = hint.Wrap(err, "%s", remedy)
		}
		return "", err
	}
	return strings.TrimSpace(stdout.String()), nil
}
