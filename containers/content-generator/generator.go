package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"distlab/containers/internal/cgroup"
)

// Generator makes generations: it renders all pages and publishes them.
type Generator struct {
	Source    Source
	Publisher Publisher
	Period    time.Duration
	Log       *slog.Logger
	Metrics   *metrics
	Ready     func(ok bool, reason string)

	one sync.Mutex // held by the generation that is being made

	mu     sync.Mutex // guards the following
	number uint64     // of the last generation that was begun
	at     time.Time  // when the last one was published
	failed int        // in a row
	reason string     // of the last failure
	pages  map[string]*Page
}

// Page is a published page.
type Page struct {
	Bytes   int       `json:"bytes"`
	SHA256  string    `json:"sha256"`
	Changed time.Time `json:"changed"`
	// Recent are the hashes of what the page was, the newest last: what a reader got must be one of them.
	Recent []string `json:"recent"`
}

// remembered is how many hashes of a page are kept.
const remembered = 100

// Run makes a generation each period, and at once when it is told to reload, until ctx is done. One that fails leaves the
// pages of before; the next comes in its time.
func (g *Generator) Run(ctx context.Context, reload <-chan struct{}) error {
	tick := time.NewTicker(g.Period)
	defer tick.Stop()
	for {
		_ = g.Generate(ctx) // said where it is noted
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-reload:
		}
	}
}

// Generate makes one generation. Two are never made at a time.
func (g *Generator) Generate(ctx context.Context) error {
	g.one.Lock()
	defer g.one.Unlock()
	begun := time.Now()
	g.mu.Lock()
	g.number++
	number := g.number
	g.mu.Unlock()
	pages, err := g.Source.Make(number, begun)
	var changed []string
	if err == nil {
		changed, err = g.Publisher.Publish(ctx, pages)
	}
	if err != nil && ctx.Err() != nil {
		return err // it was not this generation that failed: it was not wanted any more
	}
	g.note(pages, changed, err)
	g.Metrics.generation(time.Since(begun), len(changed), pages, err)
	return err
}

// note keeps what came of a generation, and says it where it is another than the last time.
func (g *Generator) note(pages map[string][]byte, changed []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		if g.failed++; g.failed == 1 || g.reason != err.Error() {
			g.Log.Error("generation failed, the pages of before stay", "generation", g.number, "error", err)
		}
		g.reason = err.Error()
		g.Ready(false, "the last generation failed, the pages of before are served: "+g.reason)
		return
	}
	if g.failed > 0 || g.at.IsZero() {
		g.Log.Info("generated", "generation", g.number, "pages", len(pages), "failed_before", g.failed)
	}
	g.failed, g.reason, g.at = 0, "", time.Now()
	now := make(map[string]*Page, len(pages))
	for name, content := range pages {
		now[name] = g.pages[name]
		if now[name] == nil {
			now[name] = &Page{Changed: g.at}
		}
		digest := sha256.Sum256(content)
		if sum := hex.EncodeToString(digest[:]); now[name].SHA256 != sum {
			p := *now[name]
			p.Bytes, p.SHA256, p.Changed = len(content), sum, g.at
			p.Recent = append(p.Recent[max(0, len(p.Recent)-remembered+1):len(p.Recent):len(p.Recent)], sum)
			now[name] = &p
		}
	}
	g.pages = now
	g.Ready(true, "")
}

// getPages shows every page with the hashes that it had lately.
func (g *Generator) getPages(w http.ResponseWriter, _ *http.Request) {
	g.mu.Lock()
	pages := g.pages // a generation makes a new one
	g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(pages) // whoever asked may have gone
}

// Generation is the number of the last one that was begun.
func (g *Generator) Generation() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.number
}

// Status is what /status shows.
type Status struct {
	Generation uint64    `json:"generation"`
	Published  time.Time `json:"published"`
	Failed     int       `json:"failed"` // generations in a row
	Reason     string    `json:"reason,omitempty"`
	Pages      int       `json:"pages"`
	Burning    int       `json:"burning"` // threads
	Cgroup     *Cgroup   `json:"cgroup"`  // of this container; null where it cannot be read
}

// Cgroup is the kernel's account of this container.
type Cgroup struct {
	Version          int     `json:"version"`
	Seconds          float64 `json:"cpu_seconds"`
	Limit            float64 `json:"limit_cores"` // 0: none
	Periods          uint64  `json:"periods"`
	ThrottledPeriods uint64  `json:"throttled_periods"`
	ThrottledSeconds float64 `json:"throttled_seconds"`
}

var errNoCgroup = errors.New("no processor time in the control group")

func ownCgroup() (*Cgroup, error) {
	u, err := cgroup.Read(os.DirFS("/sys/fs/cgroup"))
	if err != nil {
		return nil, err
	}
	if !u.CPU.Known {
		return nil, errNoCgroup
	}
	return &Cgroup{
		Version: u.Version, Seconds: u.CPU.Used.Seconds(), Limit: u.CPU.Limit, Periods: u.CPU.Periods,
		ThrottledPeriods: u.CPU.Throttled, ThrottledSeconds: u.CPU.ThrottledTime.Seconds(),
	}, nil
}

func (g *Generator) status(b *Burn) Status {
	own, err := ownCgroup()
	if err != nil {
		own = nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return Status{
		Generation: g.number, Published: g.at, Failed: g.failed, Reason: g.reason, Pages: len(g.pages), Burning: b.Threads(), Cgroup: own,
	}
}
