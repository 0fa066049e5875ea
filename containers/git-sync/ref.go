package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// Target is what the followed ref is at the remote now.
type Target struct {
	Name   string        // of the ref, in full; empty where a hash was asked for that no ref has
	Hash   plumbing.Hash // the commit, or a tag that the remote did not peel
	Search bool          // the remote gives the hash to nobody who asks for it: it is to be looked for in the branches
}

var (
	fullHash  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	shortHash = regexp.MustCompile(`^[0-9a-f]{4,39}$`)
	// What git check-ref-format refuses, and what would be an option or a pattern elsewhere.
	badRef = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|/$|\.lock$|\.$|^\.|/\.`)
)

// validRef refuses what cannot be a ref's name.
func validRef(ref string) error {
	switch {
	case ref == "" || badRef.MatchString(ref):
		return errors.New("not a branch, a tag, a full name like refs/heads/main or a hash of 40 digits")
	case len(ref) == 64 && regexp.MustCompile(`^[0-9a-f]+$`).MatchString(ref):
		return errors.New("a SHA-256 hash: only SHA-1 repositories can be followed")
	}
	return nil
}

// resolve finds a ref in what the remote advertises. A name that is both a branch and a tag is nobody's guess.
func resolve(ar *packp.AdvRefs, ref string) (Target, error) {
	if fullHash.MatchString(ref) {
		return resolveHash(ar, plumbing.NewHash(ref)), nil
	}
	if ref == "HEAD" {
		if ar.Head == nil {
			return Target{}, errors.New("the remote's HEAD names no branch that exists: it is empty, or another was pushed; name one by REF")
		}
		name := "HEAD"
		for _, symref := range ar.Capabilities.Get(capability.SymRef) {
			if to, ok := strings.CutPrefix(symref, "HEAD:"); ok {
				name = to
			}
		}
		return Target{Name: name, Hash: *ar.Head}, nil
	}
	var found []Target
	for _, name := range []string{ref, "refs/heads/" + ref, "refs/tags/" + ref} {
		if hash, ok := ar.References[name]; ok && strings.HasPrefix(name, "refs/") {
			if peeled, ok := ar.Peeled[name]; ok {
				hash = peeled
			}
			found = append(found, Target{Name: name, Hash: hash})
		}
	}
	switch {
	case len(found) > 1:
		return Target{}, fmt.Errorf("%q is a branch and a tag: say %s or %s", ref, found[0].Name, found[1].Name)
	case len(found) == 1:
		return found[0], nil
	case shortHash.MatchString(ref):
		return Target{}, fmt.Errorf("the remote has no branch or tag %q; a commit is written with all 40 digits", ref)
	}
	return Target{}, fmt.Errorf("the remote has no branch or tag %q", ref)
}

// resolveHash finds out whether the remote gives a commit by its hash: those that a ref points at always, others
// where it says so.
func resolveHash(ar *packp.AdvRefs, hash plumbing.Hash) Target {
	for _, all := range []map[string]plumbing.Hash{ar.References, ar.Peeled} {
		for name, h := range all {
			if h == hash {
				return Target{Name: name, Hash: hash}
			}
		}
	}
	caps := ar.Capabilities
	given := caps.Supports(capability.AllowReachableSHA1InWant) || caps.Supports("allow-any-sha1-in-want")
	return Target{Hash: hash, Search: !given}
}

// branches are the heads to look for a commit in.
func branches(ar *packp.AdvRefs) (heads []plumbing.Hash) {
	for name, hash := range ar.References {
		if strings.HasPrefix(name, "refs/heads/") {
			heads = append(heads, hash)
		}
	}
	return heads
}
