package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// Remote is the repository to follow. It is spoken to in git's own protocol, version 0, over HTTP or SSH. The
// messages are go-git's; the ways are ours, because its own know no deadline over SSH and no bound on what a remote
// says.
type Remote struct {
	URL *url.URL
	credentials
	Limits Limits
}

// advertised bounds the list of refs: some 250,000 of them.
const advertised = 16 << 20

// conversation is one look at the remote, and one fetch.
type conversation interface {
	// refs is what the remote says first.
	refs(ctx context.Context) (io.Reader, error)
	// ask sends a request, and is the answer.
	ask(ctx context.Context, request []byte) (io.Reader, error)
	Close() error
}

// Session is an open conversation of which the refs are known.
type Session struct {
	conversation
	Refs   *packp.AdvRefs
	limits Limits
}

// Open asks the remote for its refs. Everything ends with ctx.
func (r *Remote) Open(ctx context.Context) (*Session, error) {
	var c conversation
	var err error
	if r.URL.Scheme == "ssh" {
		c, err = r.dialSSH(ctx)
	} else {
		c, err = r.dialHTTP()
	}
	if err != nil {
		return nil, err
	}
	text, err := c.refs(ctx)
	if err != nil {
		c.Close()
		return nil, err
	}
	ar := packp.NewAdvRefs()
	bounded := &bounded{text, advertised, "MAX_REFS"}
	switch err := ar.Decode(bounded); {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		// An empty repository: no refs, and so nothing to find among them.
	case err != nil:
		c.Close()
		return nil, fmt.Errorf("%s does not speak git's protocol: %w", r.URL.Redacted(), err)
	}
	if formats := ar.Capabilities.Get("object-format"); len(formats) > 0 && formats[0] != "sha1" {
		c.Close()
		return nil, fmt.Errorf("the repository's hashes are %s: only SHA-1 repositories can be followed", formats[0])
	}
	// Of several acknowledgements go-git knows only the simple kind, and a thin pack could not be stored.
	for _, c := range []capability.Capability{capability.MultiACK, capability.MultiACKDetailed, capability.ThinPack} {
		ar.Capabilities.Delete(c)
	}
	return &Session{conversation: c, Refs: ar, limits: r.Limits}, nil
}

// Pack is what a fetch brings: the objects, and where history was cut off.
type Pack struct {
	io.Reader
	Shallows, Unshallows []plumbing.Hash
}

// Fetch asks for commits with so much of their history; 0 is all. haves are commits that are here already, whole as
// far as shallows, at which their history ends.
func (s *Session) Fetch(ctx context.Context, wants []plumbing.Hash, depth int, haves, shallows []plumbing.Hash) (*Pack, error) {
	req := packp.NewUploadPackRequestFromCapabilities(s.Refs.Capabilities)
	req.Wants, req.Haves, req.Shallows = wants, haves, shallows
	if depth > 0 {
		req.Depth = packp.DepthCommits(depth)
	} else if len(shallows) > 0 {
		req.Depth = packp.DepthCommits(1<<31 - 1) // git's own word for all of it
	}
	if !req.Depth.IsZero() {
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
	}
	if err := req.Capabilities.Set(capability.NoProgress); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := req.UploadRequest.Encode(&text); err != nil {
		return nil, err
	}
	if err := req.UploadHaves.Encode(&text, false); err != nil {
		return nil, err
	}
	if err := pktline.NewEncoder(&text).EncodeString("done\n"); err != nil {
		return nil, err
	}
	answer, err := s.ask(ctx, text.Bytes())
	if err != nil {
		return nil, err
	}
	resp := packp.NewUploadPackResponse(req)
	if err := resp.Decode(io.NopCloser(&bounded{answer, s.limits.Fetch, "MAX_FETCH"})); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	pack := &Pack{Reader: resp, Shallows: resp.Shallows, Unshallows: resp.Unshallows}
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack.Reader = sideband.NewDemuxer(sideband.Sideband64k, resp)
	case req.Capabilities.Supports(capability.Sideband):
		pack.Reader = sideband.NewDemuxer(sideband.Sideband, resp)
	}
	return pack, nil
}

// bounded fails where more comes than may: cut short, it would look like a remote that hung up.
type bounded struct {
	r       io.Reader
	left    int64
	setting string
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		if n, err := b.r.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, fmt.Errorf("%w: the remote says more than %s lets it", ErrLimit, b.setting)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// secret reads a file with a secret, without the line end that editors add.
func secret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", err
	}
	if s := strings.TrimRight(string(text), "\r\n"); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s: an empty file", path)
}
