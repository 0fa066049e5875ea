package env

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// Setting documents one variable. Its JSON is what `PROGRAM settings -o json`
// prints, and what conformance_test.go reads.
type Setting struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"` // "duration", "list of network", …
	Default  string   `json:"default"`
	Required bool     `json:"required"`
	Secret   bool     `json:"secret"`
	OneOf    []string `json:"oneof,omitempty"`
	Min      string   `json:"min,omitempty"`
	Max      string   `json:"max,omitempty"`
	Help     string   `json:"help"`
}

// Settings lists the settings of cfg, a config struct or a pointer to one, in
// the order of their declaration, those of embedded structs last.
func Settings(cfg any) []Setting {
	t := reflect.TypeOf(cfg)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var list []Setting
	for _, f := range fields(reflect.New(t).Elem()) {
		list = append(list, f.Setting)
	}
	return list
}

// Text prints the settings as the table of -h.
func Text(w io.Writer, cfg any) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range Settings(cfg) {
		def := s.Default
		switch {
		case s.Required:
			def = "(required)"
		case def == "":
			def = "(none)"
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s%s\n", s.Name, def, s.Help, s.limits("", ""))
	}
	return tw.Flush()
}

// Markdown prints the settings as the table of a README.
func Markdown(w io.Writer, cfg any) error {
	var b strings.Builder
	b.WriteString("| Variable | Type | Default | Meaning |\n| --- | --- | --- | --- |\n")
	for _, s := range Settings(cfg) {
		def := "`" + s.Default + "`"
		switch {
		case s.Required:
			def = "**required**"
		case s.Default == "":
			def = "none"
		}
		cell := strings.NewReplacer("|", `\|`, "\n", " ").Replace
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, s.Type, cell(def), cell(s.Help+s.limits("`", "`")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// limits is the part of the meaning that the tags know better than the help.
func (s Setting) limits(open, end string) string {
	quote := func(text string) string { return open + text + end }
	var out strings.Builder
	if s.OneOf != nil {
		list := make([]string, len(s.OneOf))
		for i, v := range s.OneOf {
			list[i] = quote(v)
		}
		out.WriteString("; one of " + strings.Join(list, ", "))
	}
	switch {
	case s.Min != "" && s.Max != "":
		fmt.Fprintf(&out, "; %s to %s", quote(s.Min), quote(s.Max))
	case s.Min != "":
		fmt.Fprintf(&out, "; at least %s", quote(s.Min))
	case s.Max != "":
		fmt.Fprintf(&out, "; at most %s", quote(s.Max))
	}
	if s.Secret {
		fmt.Fprintf(&out, "; secret, may be read from the file in %s", quote(s.Name+"_FILE"))
	}
	return out.String()
}
