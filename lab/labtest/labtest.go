// Package labtest runs a lab's claims as Go subtests, on a stack of its own:
//
//	func TestLab(t *testing.T) { labtest.Run(t, tls.Lab) }
//
// Every claim is a subtest, claim/ID, and so is every variant, variant/NAME, which passes when the claims that the
// variant must break fail and those that it must keep pass. A missing Docker is a failure, never a skip; `go test -short` leaves labs out.
package labtest

import (
	"context"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"distlab/lab/check"
	"distlab/lab/internal/hint"
	"distlab/lab/internal/images"
	"distlab/lab/internal/report"
	"distlab/lab/internal/runner"
	"distlab/lab/internal/stack"
)

// SeedVariable sets the seed, in place of a new one for each run.
const SeedVariable = "DISTLAB_SEED"

// Run brings the lab up, decides its claims and its variants, and takes it away, whatever happens.
func Run(t *testing.T, lab check.Lab) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, seed := newRunner(ctx, t, lab), newSeed(t)
	t.Logf("instance %s, seed %d (%s=%d repeats it)", r.Instance, seed, SeedVariable, seed)
	must(t, r.Lock(ctx, "go test"))
	t.Cleanup(func() {
		clean, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Down(clean); err != nil {
			t.Errorf("down: %v", err)
		}
		r.Unlock()
	})
	_, err := r.Up(ctx, "")
	must(t, err)
	o := runner.VerifyOptions{Seed: seed}
	rep, kept, err := r.Verify(ctx, o)
	must(t, err)
	t.Logf("record: %s", kept.Dir)
	if kept.Err != nil {
		t.Logf("the record is not whole: %v", kept.Err)
	}
	for _, c := range rep.Claims {
		t.Run("claim/"+c.ID, func(t *testing.T) { judge(t, c) })
	}
	for _, v := range lab.Variants {
		t.Run("variant/"+v.Name, func(t *testing.T) {
			out, err := r.Variant(ctx, v, o)
			must(t, err)
			if !out.OK {
				t.Errorf("it must break %q and keep %q: %s", v.Breaks, v.Keeps, out.Why)
			}
			logText(t, out.Report)
		})
	}
}

func judge(t *testing.T, c check.ClaimReport) {
	t.Logf("%s: measured %s, want %s, %d samples", c.Says, c.Measured, c.Want, c.Samples)
	for _, f := range c.Faults {
		t.Logf("fault %s: before %q, during %q, after %q", f.Fault, f.Before, f.During, f.After)
	}
	if c.Verdict != check.Pass {
		t.Errorf("%s: %s", c.Verdict, c.Detail)
	}
}

func logText(t *testing.T, rep check.Report) {
	var b strings.Builder
	if err := report.Text(&b, report.Options{}, rep); err != nil {
		t.Error(err)
	}
	t.Log(b.String())
}

func newRunner(ctx context.Context, t *testing.T, lab check.Lab) *runner.Runner {
	t.Helper()
	root, err := findRoot()
	must(t, err)
	e, err := stack.Connect(ctx)
	must(t, err)
	done, err := e.Tidy(ctx)
	must(t, err)
	for _, line := range done {
		t.Log(line)
	}
	return &runner.Runner{
		Engine: e, Root: root, Lab: lab, Owned: true,
		Instance: "test-" + strconv.FormatInt(int64(os.Getpid()), 36),
		Images:   &images.Images{Root: root, Docker: e.Docker},
	}
}

func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", hint.New("no go.mod here or above", "run it inside the clone")
		}
		dir = parent
	}
}

func newSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv(SeedVariable)
	if text == "" {
		return rand.Uint64()>>11 | 1
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return seed
}

func must(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if h := hint.Of(err); h != "" {
		t.Fatalf("%v\nhint: %s", err, hint.Here(h))
	}
	t.Fatal(err)
}
