package env

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// documented has one of every form that a row can have.
type documented struct {
	common
	Port  int      `env:"PORT" min:"1" max:"65535" help:"port to forward to"`
	Mode  string   `env:"MODE" default:"http" oneof:"http|tcp" help:"what is | inside"`
	Names []string `env:"NAMES" default:"" help:"names"`
	Low   float64  `env:"LOW" default:"1" min:"0" help:"low"`
	High  Bytes    `env:"HIGH" default:"1KB" max:"1MB" help:"high"`
	Token string   `env:"TOKEN" default:"" secret:"true" help:"a token"`
}

func TestSettings(t *testing.T) {
	want := []Setting{
		{Name: "PORT", Type: "int", Required: true, Min: "1", Max: "65535", Help: "port to forward to"},
		{Name: "MODE", Type: "text", Default: "http", OneOf: []string{"http", "tcp"}, Help: "what is | inside"},
		{Name: "NAMES", Type: "list of text", Help: "names"},
		{Name: "LOW", Type: "number", Default: "1", Min: "0", Help: "low"},
		{Name: "HIGH", Type: "size", Default: "1KB", Max: "1MB", Help: "high"},
		{Name: "TOKEN", Type: "text", Secret: true, Help: "a token"},
		{Name: "ADMIN_ADDR", Type: "address", Default: ":9090", Help: "admin port"},
	}
	for _, cfg := range []any{documented{}, &documented{}} {
		if diff := cmp.Diff(want, Settings(cfg)); diff != "" {
			t.Errorf("settings of %T (-want +got):\n%s", cfg, diff)
		}
	}
}

// A printed config is read from a value: it must not lose what it holds.
func TestSettingsLeavesTheConfigAlone(t *testing.T) {
	cfg := &documented{Port: 7, Mode: "tcp"}
	Settings(cfg)
	if cfg.Port != 7 || cfg.Mode != "tcp" {
		t.Errorf("config is now %+v", cfg)
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := Text(&b, documented{}); err != nil {
		t.Fatal(err)
	}
	want := `  PORT        (required)  port to forward to; 1 to 65535
  MODE        http        what is | inside; one of http, tcp
  NAMES       (none)      names
  LOW         1           low; at least 0
  HIGH        1KB         high; at most 1MB
  TOKEN       (none)      a token; secret, may be read from the file in TOKEN_FILE
  ADMIN_ADDR  :9090       admin port
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := Markdown(&b, documented{}); err != nil {
		t.Fatal(err)
	}
	want := "| Variable | Type | Default | Meaning |\n" +
		"| --- | --- | --- | --- |\n" +
		"| `PORT` | int | **required** | port to forward to; `1` to `65535` |\n" +
		"| `MODE` | text | `http` | what is \\| inside; one of `http`, `tcp` |\n" +
		"| `NAMES` | list of text | none | names |\n" +
		"| `LOW` | number | `1` | low; at least `0` |\n" +
		"| `HIGH` | size | `1KB` | high; at most `1MB` |\n" +
		"| `TOKEN` | text | none | a token; secret, may be read from the file in `TOKEN_FILE` |\n" +
		"| `ADMIN_ADDR` | address | `:9090` | admin port |\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
