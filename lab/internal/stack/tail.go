package stack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"
)

// TailOptions choose which logs Tail writes.
type TailOptions struct {
	Service string // "" is all
	Follow  bool
	Tail    string // "all" or a number of lines
}

// Tail writes what a project's containers log, each line after its service's name, until they end or ctx does.
func (e *Engine) Tail(ctx context.Context, w io.Writer, project string, o TailOptions) error {
	all, err := e.containers(ctx, project)
	if err != nil {
		return err
	}
	width := 0
	for _, c := range all {
		width = max(width, len(c.Labels[api.ServiceLabel]))
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range all {
		service := c.Labels[api.ServiceLabel]
		if o.Service != "" && o.Service != service {
			continue
		}
		g.Go(func() error {
			r, err := e.Docker.ContainerLogs(gctx, c.ID, client.ContainerLogsOptions{
				ShowStdout: true, ShowStderr: true, Follow: o.Follow, Tail: o.Tail,
			})
			if err != nil {
				return e.explain(ctx, fmt.Errorf("read logs of %s: %w", service, err))
			}
			defer r.Close()
			pr, pw := io.Pipe()
			go func() {
				_, err := stdcopy.StdCopy(pw, pw, r)
				pw.CloseWithError(err)
			}()
			lines := bufio.NewReader(pr)
			for {
				line, err := lines.ReadString('\n')
				if line != "" {
					mu.Lock()
					_, werr := fmt.Fprintf(w, "%-*s | %s", width, service, line)
					mu.Unlock()
					if werr != nil {
						return werr
					}
				}
				if err == io.EOF || ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return fmt.Errorf("read logs of %s: %w", service, err)
				}
			}
		})
	}
	return g.Wait()
}
