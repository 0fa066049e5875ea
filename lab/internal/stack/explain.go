package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"distlab/lab/internal/hint"
)

// engineTimeout is how long an engine may take to answer the first question.
const engineTimeout = 10 * time.Second

// errSilent says that an engine did not answer at all.
var errSilent = errors.New("no answer")

// limit is the error of a time of ours that ran out: it says which, since the engine may well have answered all the while.
func limit(what string, d time.Duration) error { return fmt.Errorf("%s took longer than %v", what, d) }

// explain is [Explain] for a request that was made with ctx: where its time ran out, it says whose limit that was. The client
// gives the cause as its own failure to connect, or says no more than "context deadline exceeded".
func (e *Engine) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != context.DeadlineExceeded {
		return Explain(e.Host, err)
	}
	cause := context.Cause(ctx)
	if cause == errSilent || cause == context.DeadlineExceeded {
		return Explain(e.Host, cause)
	}
	if doing, _, ok := strings.Cut(err.Error(), ": "); ok && !strings.ContainsAny(doing, `"/`) && doing != "error during connect" {
		cause = fmt.Errorf("%w (%s)", cause, doing)
	}
	return cause
}

// Explain turns an engine's error into a fact and a remedy.
func Explain(host string, err error) error {
	if err == nil || hint.Of(err) != "" {
		return err
	}
	text := err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, os.ErrPermission) || strings.Contains(text, "permission denied while trying to connect"):
		return hint.Wrap(fmt.Errorf("may not talk to Docker at %s: permission denied", host),
			"join the docker group (sudo usermod -aG docker $USER, then log in again), or use sudo")
	case client.IsErrConnectionFailed(err) || strings.Contains(text, "Cannot connect to the Docker daemon") ||
		strings.Contains(text, "failed to connect to the docker API"):
		return hint.Wrap(fmt.Errorf("cannot reach Docker at %s", host),
			"start it (%s), or say where it is: DOCKER_HOST=unix:///path/docker.sock", hint.Service("start"))
	case errors.Is(err, errSilent):
		return hint.Wrap(fmt.Errorf("no answer from Docker at %s within %v", host, engineTimeout),
			"the engine hangs: restart it (%s)", hint.Service("restart"))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("its time ran out: %w", err)
	case strings.Contains(text, "no space left on device"):
		return hint.Wrap(fmt.Errorf("the engine's disk is full: %w", err), "make room: lab gc, docker system prune; then df -h")
	case strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use"):
		return hint.Wrap(fmt.Errorf("a port is taken: %w", err), "leave the port variable unset for a free port, or choose another one")
	case strings.Contains(text, "non-overlapping IPv4 address pool") || strings.Contains(text, "all predefined address pools"):
		return hint.Wrap(fmt.Errorf("the engine has no subnet left for a network: %w", err),
			"remove networks that nobody uses: lab gc, docker network prune")
	}
	return err
}
