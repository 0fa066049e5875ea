package images

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/cpuguy83/dockercfg"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"distlab/lab/internal/hint"
)

// unreachable is a registry that gave no answer about an image: no network, no name, a limit.
type unreachable struct {
	registry string
	err      error
}

func (u *unreachable) Error() string { return fmt.Sprintf("no answer from %s: %v", u.registry, u.err) }
func (u *unreachable) Unwrap() error { return u.err }

// pull has the engine pull ref. A registry that gave no answer once is not asked again by this process.
func (im *Images) pull(ctx context.Context, ref string) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return fmt.Errorf("image %q: %w", ref, err)
	}
	domain := reference.Domain(named)
	im.mu.Lock()
	known := im.silent[domain]
	im.mu.Unlock()
	if known != nil {
		return known
	}

	done := im.step(ref, Pull, "from "+domain)
	err = im.pullFrom(ctx, ref, domain)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case client.IsErrConnectionFailed(err), diskError(err) != err:
		err = im.engineError("pull "+ref, err)
	case answered(err):
		err = hint.Wrap(fmt.Errorf("pull %s: %w", ref, err), "check its name and tag, or log in: docker login %s", domain)
	default:
		err = &unreachable{domain, err}
		im.mu.Lock()
		if im.silent == nil {
			im.silent = map[string]error{}
		}
		im.silent[domain] = err
		im.mu.Unlock()
	}
	done("", err)
	return err
}

// pullFrom gives up when the first word, or a later one, is too long in coming: the engine itself would wait for minutes.
func (im *Images) pullFrom(ctx context.Context, ref, domain string) error {
	patience := cmp.Or(im.Patience, 10*time.Second)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	expect := func(within time.Duration) (arrived func() bool) {
		return time.AfterFunc(within, func() { cancel(fmt.Errorf("nothing within %s", within)) }).Stop
	}
	arrived := expect(patience)
	defer func() { arrived() }()

	stream, err := im.Docker.ImagePull(ctx, ref, client.ImagePullOptions{RegistryAuth: credentials(domain)})
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	defer stream.Close()
	var layers layers
	var last time.Time
	for decoder := json.NewDecoder(stream); ; {
		var m jsonstream.Message
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return cmp.Or(context.Cause(ctx), err)
		case m.Error != nil:
			return m.Error
		}
		arrived()
		arrived = expect(6 * patience)
		layers.add(m)
		if text := layers.String(); text != "" && time.Since(last) > 200*time.Millisecond {
			last = time.Now()
			im.report(Event{Ref: ref, Step: Pull, Phase: Going, Text: text})
		}
	}
}

var refused = regexp.MustCompile(`(?i)manifest unknown|not found|no matching manifest|access denied|unauthorized|invalid reference`)

// answered tells whether a registry said no, rather than nothing. Which errors have which type differs from engine to
// engine, hence the text.
func answered(err error) bool {
	return cerrdefs.IsNotFound(err) || cerrdefs.IsUnauthorized(err) || refused.MatchString(err.Error())
}

// credentials are what docker login left for the registry. Without any, the pull is anonymous.
func credentials(domain string) string {
	user, secret, err := dockercfg.GetRegistryCredentials(dockercfg.ResolveRegistryHost(domain))
	if err != nil || secret == "" {
		return ""
	}
	auth := registry.AuthConfig{Username: user, Password: secret}
	if user == "" {
		auth = registry.AuthConfig{IdentityToken: secret}
	}
	encoded, err := authconfig.Encode(auth)
	if err != nil {
		return ""
	}
	return encoded
}

// layers adds up the progress of a pull.
type layers struct {
	current, total map[string]int64
}

func (l *layers) add(m jsonstream.Message) {
	if l.current == nil {
		l.current, l.total = map[string]int64{}, map[string]int64{}
	}
	switch {
	case m.Status == "Downloading" && m.Progress != nil && m.Progress.Total > 0:
		l.current[m.ID], l.total[m.ID] = m.Progress.Current, m.Progress.Total
	case m.Status == "Download complete" || m.Status == "Pull complete":
		l.current[m.ID] = l.total[m.ID]
	}
}

func (l *layers) String() string {
	var current, total int64
	for id := range l.total {
		current += l.current[id]
		total += l.total[id]
	}
	if total == 0 {
		return ""
	}
	const mega = 1e6
	return fmt.Sprintf("%.0f of %.0f MB", float64(current)/mega, float64(total)/mega)
}
