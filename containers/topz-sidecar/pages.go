package main

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Pages serves the newest look as text, HTML and JSON.
type Pages struct {
	Sampler *Sampler
	Refresh time.Duration // of the HTML page

	// Stale is the age from which a look is no answer any more.
	Stale time.Duration
}

// Handler serves /topz.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /topz", p.topz)
	mux.HandleFunc("GET /topz.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		io.WriteString(w, css)
	})
	mux.Handle("GET /{$}", http.RedirectHandler("/topz", http.StatusFound))
	return mux
}

// topz answers in the format that is asked for, by the query or else by Accept: a browser gets HTML, and whatever does not
// say what it wants gets the original's text.
func (p *Pages) topz(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// Nothing here is a script, and no name of a process shall become one.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	view, err := parseView(query, accepted(r.Header.Get("Accept")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	snap := p.Sampler.Latest()
	if snap == nil || time.Since(snap.To) > max(p.Stale, 2*busiest*snap.Took) {
		http.Error(w, "no look at the processes lately", http.StatusServiceUnavailable)
		return
	}
	table := view.of(snap)
	switch view.Format {
	case "json":
		h.Set("Content-Type", "application/json")
		writeJSON(w, snap, table)
	case "html":
		h.Set("Content-Type", "text/html; charset=utf-8")
		p.writeHTML(w, query, view, snap, table)
	case "wide":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		writeWide(w, snap, table)
	default:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		writeText(w, table)
	}
}

// accepted is the format for an Accept header: the first type named that there is.
func accepted(header string) string {
	for part := range strings.SplitSeq(header, ",") {
		kind, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch kind {
		case "text/html":
			return "html"
		case "application/json":
			return "json"
		case "text/plain", "*/*":
			return "text"
		}
	}
	return "text"
}

// writeText is the original's table: PID, CPU %, MEM % and the command line.
func writeText(w io.Writer, t Table) {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for _, r := range t.Rows {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\n", r.PID, cmp.Or(orDenied(r.CPU), "-"), r.MemoryPercent, r.Command)
	}
	tw.Flush()
}

// writeWide is a table for people: of the containers, and of all that is known of the processes.
func writeWide(w io.Writer, snap *Snapshot, t Table) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(snap.Containers) > 0 {
		fmt.Fprintln(tw, "CONTAINER\tGROUP\tPROCS\tCPU%\tLIMIT\tTHROTTLED%\tWORKING\tLIMIT\tMEM%\tCGROUP")
		for _, c := range snap.Containers {
			fmt.Fprintln(tw, strings.Join(c.cells(), "\t"))
		}
		fmt.Fprintln(tw)
	}
	fmt.Fprintln(tw, strings.Join(headings, "\t"))
	for _, r := range t.Rows {
		fmt.Fprintln(tw, strings.Join(r.cells(), "\t"))
	}
	tw.Flush()
	fmt.Fprintln(w, t.note(snap))
}

// note says what the table leaves out, and of when it is.
func (t Table) note(snap *Snapshot) string {
	note := fmt.Sprintf("%d processes, cpu %s %%, memory %s, at %s", t.Total.Processes, t.Total.cpu(), size(t.Total.Memory),
		snap.To.UTC().Format(time.TimeOnly))
	if t.Beyond > 0 {
		note += fmt.Sprintf(", %d rows not shown", t.Beyond)
	}
	if snap.LeftOut > 0 {
		note += fmt.Sprintf(", %d processes not looked at", snap.LeftOut)
	}
	return note
}

var headings = []string{
	"PID", "PARENT", "USER", "GROUP", "STATE", "THREADS", "CPU%", "CHILDREN%", "MEM", "MEM%", "READ", "WRITTEN", "FILES", "COMMAND",
}

// sortKeys are the columns of headings that rows can be sorted by.
var sortKeys = map[string]string{
	"PID": "pid", "GROUP": "group", "THREADS": "threads", "CPU%": "cpu", "MEM": "memory", "READ": "read",
	"WRITTEN": "written", "FILES": "files", "COMMAND": "name",
}

func (r *Row) cells() []string {
	command := r.Command
	if r.Processes > 1 {
		command = fmt.Sprintf("%s (and %d more)", command, r.Processes-1)
	}
	return []string{
		strconv.Itoa(r.PID), strconv.Itoa(r.Parent), orDenied(r.User), r.Group, r.State, strconv.Itoa(r.Threads),
		cmp.Or(orNone(r.CPU), "-"), cmp.Or(orNone(r.Children), "-"), size(r.Memory), r.MemoryPercent.String(),
		sizeOrDenied(r.Read), sizeOrDenied(r.Wrote), orDenied(r.Files), command,
	}
}

func (c *Container) cells() []string {
	cells := []string{c.ID, c.Group, strconv.Itoa(c.Processes), "-", "-", "-", "-", "-", "-", c.Cgroup}
	if c.Error != "" {
		cells[9] += " (" + clip(visible(c.Error), 64) + ")"
	}
	if u := c.CPU; u != nil {
		cells[3], cells[4], cells[5] = cmp.Or(orNone(u.Percent), "-"), "none", cmp.Or(orNone(u.ThrottledPercent), "-")
		if u.Limit != nil {
			cells[4] = percent(*u.Limit*100).String() + "%"
		}
	}
	if u := c.Memory; u != nil {
		cells[6], cells[7], cells[8] = size(u.Working), "none", cmp.Or(orNone(u.Percent), "-")
		if u.Limit != nil {
			cells[7] = size(*u.Limit)
		}
	}
	return cells
}

func orNone[T any](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}

func orDenied[T any](v *T) string { return cmp.Or(orNone(v), "denied") }

func sizeOrDenied(n *uint64) string {
	if n == nil {
		return "denied"
	}
	return size(*n)
}

// size is a number of bytes in three digits or so.
func size(n uint64) string {
	units := []string{"B", "K", "M", "G", "T"}
	x := float64(n)
	for len(units) > 1 && x >= 1000 {
		x, units = x/1024, units[1:]
	}
	digits := 0
	if units[0] != "B" && x < 10 {
		digits = 1
	}
	return strconv.FormatFloat(x, 'f', digits, 64) + units[0]
}

func writeJSON(w io.Writer, snap *Snapshot, t Table) {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(struct { // whoever asked may have gone
		From       instant      `json:"from"`
		To         instant      `json:"to"`
		Processes  []*Row       `json:"processes"`
		Beyond     int          `json:"beyond_limit"`
		LeftOut    int          `json:"left_out"`
		Total      jsonTotal    `json:"total"`
		Containers []*Container `json:"containers"`
	}{
		instant{snap.From},
		instant{snap.To},
		slices.Concat([]*Row{}, t.Rows), t.Beyond, snap.LeftOut,
		jsonTotal{t.Total.Processes, t.Total.cpu(), t.Total.Memory},
		slices.Concat([]*Container{}, snap.Containers),
	})
}

type jsonTotal struct {
	Processes int     `json:"processes"`
	CPU       percent `json:"cpu_percent"`
	Memory    uint64  `json:"memory_bytes"`
}

//go:embed topz.css
var css string

//go:embed topz.html
var html string

// The template escapes each value for the place where it stands.
var page = template.Must(template.New("topz").Parse(html))

func (p *Pages) writeHTML(w io.Writer, q url.Values, v View, snap *Snapshot, t Table) {
	type heading struct {
		Text, Link string
		Sorted     bool
	}
	with := func(name, value string) string {
		next := url.Values{}
		for _, known := range []string{"sort", "order", "filter", "fold", "limit"} {
			if q.Has(known) {
				next.Set(known, q.Get(known))
			}
		}
		next.Del("order")
		next.Set(name, value)
		next.Set("format", "html")
		return "/topz?" + next.Encode()
	}
	var columns []heading
	for _, text := range headings {
		h := heading{Text: text}
		if key := sortKeys[text]; key != "" {
			h.Link, h.Sorted = with("sort", key), v.Sort == key
		}
		columns = append(columns, h)
	}
	var containers, rows [][]string
	for _, c := range snap.Containers {
		containers = append(containers, c.cells())
	}
	for _, r := range t.Rows {
		rows = append(rows, r.cells())
	}
	seconds := int(max(p.Refresh, time.Second) / time.Second)
	_ = page.Execute(w, map[string]any{ // whoever asked may have gone
		"Refresh": seconds, "Columns": columns, "Rows": rows, "Containers": containers, "Note": t.note(snap),
		"Filter": q.Get("filter"), "Sort": v.Sort, "Fold": v.Fold, "Folds": folds,
	})
}
