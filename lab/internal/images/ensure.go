package images

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"distlab/lab/internal/hint"
)

// Ensure makes every image of needs present, as many at a time as there are cores. The environment that it returns must be
// set when the compose files are loaded for use: it names the images that stand in for others.
//
// All that can be done is done even when one image fails; the error then joins what failed.
func (im *Images) Ensure(ctx context.Context, needs []Need) (env map[string]string, err error) {
	var ours []string
	var others []Need
	for _, n := range needs {
		if n.Container != "" {
			ours = append(ours, n.Container)
		} else {
			others = append(others, n)
		}
	}
	var mu sync.Mutex
	env = map[string]string{}
	errs := make([]error, len(others)+1)
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0) + 1) // Build keeps its own limit
	if len(ours) > 0 {
		group.Go(func() error {
			errs[0] = im.Build(ctx, ours...)
			return nil
		})
	}
	for i, n := range others {
		group.Go(func() error {
			use, err := im.obtain(ctx, n)
			if errs[i+1] = err; err == nil && use != n.Ref {
				mu.Lock()
				defer mu.Unlock()
				env[n.Variable] = use
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return env, join(errs)
}

// join is one error for several, with every remedy.
func join(errs []error) error {
	var failed []error
	var hints []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		failed = append(failed, err)
		if h := hint.Of(err); h != "" {
			hints = append(hints, h)
		}
	}
	if len(failed) <= 1 || len(hints) == 0 {
		return errors.Join(failed...)
	}
	return hint.Wrap(errors.Join(failed...), "%s", strings.Join(hints, "\n"))
}

// obtain gets an image of others and returns the one to use: n.Ref itself, or its substitute.
func (im *Images) obtain(ctx context.Context, n Need) (use string, err error) {
	have, err := im.inspect(ctx, n.Ref)
	if err != nil || have != nil {
		return n.Ref, err
	}
	if strings.HasPrefix(n.Ref, prefix) && n.Recipe == "" {
		return "", hint.New("no image "+n.Ref+" here, and no registry has it", "scripts/debian-image lists what it can make; or set its variable to another image")
	}
	// A substitute made earlier is used at once: asking a registry that was out of reach costs time on every start.
	if n.Use == "" && !strings.HasPrefix(n.Ref, prefix) {
		err = im.pull(ctx, n.Ref)
		if err == nil {
			return n.Ref, nil
		}
		if _, away := errors.AsType[*unreachable](err); !away {
			return "", err
		}
	}
	if n.Recipe == "" || n.Variable == "" && !strings.HasPrefix(n.Ref, prefix) {
		return "", hint.Wrap(fmt.Errorf("image %s is missing: %w", n.Ref, err), "%s", im.remedy(n))
	}
	use, makeErr := im.make(ctx, n, err)
	if makeErr == nil && n.Variable == "" && use != n.Ref {
		makeErr = hint.New(fmt.Sprintf("no image %s here; its recipe makes %s now", n.Ref, use), "use "+use+", or unset the variable that names the other")
	}
	return use, makeErr
}

func (im *Images) remedy(n Need) string {
	way := "bring it along from a machine that has it: docker save " + n.Ref + " there, docker load here; lab images lists what the labs need"
	if n.Recipe != "" {
		way = fmt.Sprintf("write it in the compose file as ${NAME_IMAGE:-%s}, and it is made from Debian's packages; or %s", n.Ref, way)
	}
	return way
}

// make has scripts/debian-image make, or find again, the substitute of n, and says so. away is why it is wanted, nil when it
// was already there.
func (im *Images) make(ctx context.Context, n Need, away error) (use string, err error) {
	text := "from Debian's packages"
	if away != nil {
		text += ": " + away.Error()
	}
	done := im.step(n.Ref, Substitute, text)
	use, err = im.debianImage(ctx, n.Ref, n.Recipe)
	done("uses "+use+" from Debian's packages", err)
	return use, err
}
