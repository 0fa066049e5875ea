package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
)

// explainJSON is what `explain -o json` prints. The names are stable.
type explainJSON struct {
	Lab       string                `json:"lab"`
	Title     string                `json:"title"`
	Pattern   string                `json:"pattern"`
	Says      string                `json:"says"`
	Endpoints []explainEndpointJSON `json:"endpoints"`
	Try       []explainTryJSON      `json:"try"`
	compose.Graph
	Claims   []explainClaimJSON   `json:"claims"`
	Variants []explainVariantJSON `json:"variants"`
}

type explainEndpointJSON struct {
	Service string `json:"service"`
	Port    int    `json:"port"`
	URL     string `json:"url"` // {address} stands for where the port is published once the lab is up
	Says    string `json:"says"`
}

type explainTryJSON struct {
	Says string `json:"says"`
	Run  string `json:"run"`
}

type explainClaimJSON struct {
	ID   string `json:"id"`
	Says string `json:"says"`
}

type explainVariantJSON struct {
	Name   string   `json:"name"`
	Says   string   `json:"says"`
	Breaks []string `json:"breaks"`
	Keeps  []string `json:"keeps"`
}

func (a *app) explain() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "explain LAB",
		Short: "What a lab is: its README, services, claims and variants",
		Long: `The lab's README, its services as its compose file has them, what it claims, and which claims each variant breaks:
rendered on a terminal, as Markdown elsewhere. -o mermaid draws the services alone, as a flowchart. Needs no Docker.`,
		Args:              oneLab,
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, err := a.lab(args[0])
			if err != nil {
				return err
			}
			root, err := a.findRoot()
			if err != nil {
				return err
			}
			p, err := compose.Load(cmd.Context(), compose.Source{Root: root, Lab: lab.Name}, nil)
			if err != nil {
				return err
			}
			switch out {
			case "json":
				return a.json(explained(lab, p))
			case "mermaid":
				_, err := io.WriteString(a.stdout, p.Describe().Mermaid())
				return err
			}
			return a.explainText(lab, p)
		},
	}
	out.flag(cmd, "text", "mermaid", "json")
	return cmd
}

func explained(lab check.Lab, p *compose.Project) explainJSON {
	e := explainJSON{
		Lab: lab.Name, Title: p.Meta.Title, Pattern: p.Meta.Pattern, Says: p.Meta.Says, Graph: p.Describe(),
		Endpoints: []explainEndpointJSON{}, Try: []explainTryJSON{}, Claims: []explainClaimJSON{}, Variants: []explainVariantJSON{},
	}
	for _, x := range p.Meta.Endpoints {
		e.Endpoints = append(e.Endpoints, explainEndpointJSON(x))
	}
	for _, c := range p.Meta.Try {
		e.Try = append(e.Try, explainTryJSON(c))
	}
	for _, c := range lab.Claims {
		e.Claims = append(e.Claims, explainClaimJSON{ID: c.ID, Says: c.Says})
	}
	for _, v := range lab.Variants {
		e.Variants = append(e.Variants, explainVariantJSON{v.Name, v.Says, list(v.Breaks), list(v.Keeps)})
	}
	return e
}

// explainText writes one Markdown document, rendered where a person reads it and as it is where a program does.
func (a *app) explainText(lab check.Lab, p *compose.Project) error {
	doc, err := document(lab, p)
	if err != nil {
		return err
	}
	width, height, ok := a.terminal()
	if !ok {
		_, err = io.WriteString(a.stdout, doc)
		return err
	}
	return a.page(renderMarkdown(doc, width, a.color), height)
}

// page shows a text in the person's pager where it is longer than the terminal, and writes it where there is none.
func (a *app) page(text string, height int) error {
	pager := strings.Fields(cmp.Or(os.Getenv("PAGER"), "less"))
	someone := term.IsTerminal(int(os.Stdin.Fd())) && os.Getenv("TERM") != "dumb"
	if someone && strings.Count(text, "\n") >= height && len(pager) > 0 {
		cmd := exec.Command(pager[0], pager[1:]...)
		cmd.Env = append(os.Environ(), "LESS="+cmp.Or(os.Getenv("LESS"), "FRX"))
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), a.stdout, a.stderr
		if err := cmd.Start(); err == nil {
			return cmd.Wait()
		}
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}

// document is the README, and after it what the compose file and the claims themselves say.
func document(lab check.Lab, p *compose.Project) (string, error) {
	var b strings.Builder
	readme, err := os.ReadFile(filepath.Join(p.Dir(), "README.md"))
	switch {
	case err == nil:
		b.WriteString(strings.TrimSpace(string(readme)) + "\n")
	case errors.Is(err, fs.ErrNotExist):
		// A lab that is being written has none yet.
		fmt.Fprintf(&b, "# %s\n\n%s\n", p.Meta.Title, p.Meta.Says)
	default:
		return "", err
	}
	fmt.Fprintf(&b, "\n## The services of %s\n\n```text\n%s```\n", lab.Name, p.Describe().Text())
	fmt.Fprintf(&b, "\n## What lab verify %s measures\n\n", lab.Name)
	for _, c := range lab.Claims {
		fmt.Fprintf(&b, "- `%s`: %s\n", c.ID, c.Says)
	}
	section := func(title string, standIn bool) {
		for _, v := range lab.Variants {
			if v.StandIn() != standIn {
				continue
			}
			if title != "" {
				fmt.Fprintf(&b, "\n## %s\n\n", title)
				title = ""
			}
			fmt.Fprintf(&b, "- `lab up %s --variant %s`: %s.", lab.Name, v.Name, strings.TrimSuffix(v.Says, "."))
			if len(v.Breaks) > 0 {
				fmt.Fprintf(&b, " Then must fail: `%s`.", strings.Join(v.Breaks, "`, `"))
			}
			if len(v.Keeps) > 0 {
				fmt.Fprintf(&b, " Still must pass: `%s`.", strings.Join(v.Keeps, "`, `"))
			}
			b.WriteByte('\n')
		}
	}
	section("What breaks it", false)
	section("With the program you know", true)
	return b.String(), nil
}

// list is never null in JSON.
func list(ids []string) []string { return append([]string{}, ids...) }

// terminal is standard output's size, where that is a terminal.
func (a *app) terminal() (width, height int, ok bool) {
	f, ok := a.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width, height = 80, 24
	}
	return width, height, true
}
