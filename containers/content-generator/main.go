// Content-generator writes the pages that a server of static content serves: from templates and data, each period, and
// each page whole.
//
// Source: the pod of two containers in Burns, Designing Distributed Systems, chapter 2, in which one makes the content and
// the other serves it, each with limits of its own.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	TemplateDir string        `env:"TEMPLATE_DIR" default:"/templates" help:"folder of what to publish: name.html.tmpl becomes name.html, files without .tmpl are copied"`
	DataPath    string        `env:"DATA_PATH" default:"" help:"JSON file that templates have as .Data; it is read anew for each generation"`
	OutputDir   string        `env:"OUTPUT_DIR" default:"/content" help:"folder to publish in; what else lies there is left alone"`
	Period      time.Duration `env:"PERIOD" default:"10s" min:"100ms" help:"time between two generations"`
	Mode        string        `env:"MODE" default:"serve" oneof:"serve|once" help:"serve: until it is stopped; once: one generation, exit 0, or 1 if it failed"`
	MaxBytes    env.Bytes     `env:"MAX_BYTES" default:"8MiB" min:"1KiB" help:"most that one generation may be, all pages together; it takes some four times that in memory"`
	Write       string        `env:"WRITE" default:"rename" oneof:"rename|in-place" help:"how a page is replaced; in-place imitates programs that open the file and write: readers see parts of it, do not use it"`
	Stamp       string        `env:"STAMP" default:"distinct" oneof:"distinct|plain" help:"time of change of a page; distinct lets no two contents of one length have the same second, by which servers know them apart, plain does not: do not use it"`
	daemon.Config
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	limit := daemon.Available().Memory
	daemon.CollectWithin(limit)
	g := &Generator{
		Source:    Source{Templates: cfg.TemplateDir, Data: cfg.DataPath, Most: int64(cfg.MaxBytes)},
		Publisher: Publisher{Dir: cfg.OutputDir, InPlace: cfg.Write == "in-place", PlainStamp: cfg.Stamp == "plain"},
		Period:    cfg.Period, Log: p.Log, Metrics: newMetrics(p.Metrics), Ready: p.Ready,
	}
	if err := g.Publisher.Open(); err != nil {
		return fmt.Errorf("OUTPUT_DIR: %w", err)
	}
	if cfg.Mode == "once" {
		return g.Generate(ctx)
	}
	burn := &Burn{}
	p.Status(func() any { return g.status(burn) })
	p.Handle("POST /generate", http.HandlerFunc(g.postGenerate))
	p.Handle("GET /pages", http.HandlerFunc(g.getPages))
	p.Handle("PUT /burn", http.HandlerFunc(burn.put))
	p.Handle("DELETE /burn", http.HandlerFunc(burn.delete))
	defer burn.Stop()
	p.Ready(false, "nothing generated yet")
	return g.Run(ctx, p.Reload)
}

// postGenerate makes a generation now, and answers when it is published.
func (g *Generator) postGenerate(w http.ResponseWriter, r *http.Request) {
	if err := g.Generate(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]uint64{"generation": g.Generation()}) // whoever asked may have gone
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{
		Name:    "content-generator",
		Summary: "Content-generator writes pages from templates and data into a folder, each period, and each page whole.",
		Run:     run,
	}, os.Args[1:]))
}
