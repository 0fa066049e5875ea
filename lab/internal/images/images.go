// Package images sees to it that the images of a lab are there before the lab starts: it builds ours, and finds, pulls
// or substitutes those of others.
//
// Ours (distlab/<name>:dev) are compiled on the host, for the engine's architecture, and copied into the `prebuilt` stage
// of their Dockerfile by the engine's own build API: no registry, no network, a tenth of a second. An image keeps the digest of
// what went into it as a label, so a rebuild happens when, and only when, the binary or the Dockerfile changed, whoever
// removed an image or emptied .lab in between.
//
// Those of others are used when present, pulled when a registry answers, and otherwise made from Debian's packages
// by scripts/debian-image, which is said in one line, never done silently.
//
//	im := &images.Images{Root: root, Docker: docker}
//	needs, err := im.Needs(ctx, project)
//	env, err := im.Ensure(ctx, needs) // then load the project again with env
package images

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"distlab/lab/internal/hint"
)

// Names and labels that this package and scripts/debian-image agree on.
const (
	Probe = "distlab/probe:dev" // every lab's checks run it inside the lab's network

	prefix      = "distlab/"
	tag         = ":dev"
	labelDigest = "distlab.digest" // of an image of ours: what went into it
	labelRecipe = "distlab.recipe" // of a substitute: the name of its recipe
)

// Images builds and finds images. Its methods may be called concurrently.
type Images struct {
	Root   string // of the repository
	Docker client.APIClient

	// Report is told what happens, from one goroutine at a time. Nil is silence.
	Report func(Event)

	// Patience is how long a registry may take to its first answer; 0 is ten seconds. A pull that has begun may
	// stand still six times as long.
	Patience time.Duration

	reporting sync.Mutex // held during Report
	building  sync.Mutex // held during Build: a second lab of this process waits, and then finds everything there

	mu     sync.Mutex // guards what follows
	arch   string     // of the engine, as GOARCH
	silent map[string]error
}

// Event is one thing that happened to one image.
type Event struct {
	Ref   string        // distlab/pause:dev, redis:8.0
	Step  Step          // what is being done
	Phase Phase         // how far it is
	Text  string        // for a person; "" when Ref and Step say it all
	Took  time.Duration // since Began; set with Done and Failed
}

// Step is what is done to an image.
type Step string

// The steps.
const (
	Compile    Step = "compile" // Go, on the host
	BuildImage Step = "build"   // the engine
	Pull       Step = "pull"
	Substitute Step = "substitute" // from Debian's packages
	Wait       Step = "wait"       // for another process that builds
	Keep       Step = "keep"       // nothing done, and the person should know why
)

// Phase is how far a step is. Every step that Began is Done or Failed later; between come any number of Going.
type Phase string

// The phases.
const (
	Began  Phase = "began"
	Going  Phase = "going"
	Done   Phase = "done"
	Failed Phase = "failed"
)

func (im *Images) report(e Event) {
	if im.Report == nil {
		return
	}
	im.reporting.Lock()
	defer im.reporting.Unlock()
	im.Report(e)
}

// step reports the beginning of a step and returns what reports its end.
func (im *Images) step(ref string, step Step, text string) func(text string, err error) {
	start := time.Now()
	im.report(Event{Ref: ref, Step: step, Phase: Began, Text: text})
	return func(text string, err error) {
		e := Event{Ref: ref, Step: step, Phase: Done, Text: text, Took: time.Since(start)}
		if err != nil {
			e.Phase, e.Text = Failed, err.Error()
		}
		im.report(e)
	}
}

// engineArch is the engine's architecture as Go names it, which need not be this machine's.
func (im *Images) engineArch(ctx context.Context) (string, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.arch != "" {
		return im.arch, nil
	}
	version, err := im.Docker.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", im.engineError("ask Docker for its architecture", err)
	}
	if version.Os != "linux" {
		return "", hint.New(fmt.Sprintf("this Docker runs %s containers", version.Os), "switch Docker to Linux containers")
	}
	im.arch = version.Arch
	return im.arch, nil
}
