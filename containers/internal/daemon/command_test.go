package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"distlab/containers/internal/env"

	"github.com/google/go-cmp/cmp"
)

// command runs a command line in this process.
func command(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	prog := newProgram(testProgram("http"))
	prog.stdout, prog.stderr = &out, &errs
	code = prog.main(args)
	return code, out.String(), errs.String()
}

const usage = `Cat-herder herds cats.

Usage: cat-herder [COMMAND]

Without a command it runs until SIGTERM. Commands:
  count     count the cats
  health    exit 0 if the program in this container is ready, 1 if not
  settings  print the settings: -o text, json or markdown
  version   print the version
  help      print this

Settings, from environment variables:
  LISTEN_ADDR    127.0.0.1:0  address to serve on
  LINGER         0            a number
  ADMIN_ADDR     :9090        address of the admin port: /livez, /readyz, /metrics, /status
  LOG_LEVEL      info         least level that is logged; one of debug, info, warn, error
  DRAIN_TIMEOUT  10s          time that work in flight gets to end after SIGTERM

Exit codes: 0 stopped as asked, 1 could not start or the drain was cut, 2 bad settings or usage.
`

func TestCommands(t *testing.T) {
	hint := "hint: settings are environment variables, `cat-herder -h` lists them and the commands\n"
	version := "cat-herder dev " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for _, tt := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"-h", 0, usage, ""},
		{"--help", 0, usage, ""},
		{"help", 0, usage, ""},
		{"version", 0, version, ""},
		{"--version", 0, version, ""},
		{"count a b", 7, "2 cats\n", "counted\n"},
		{"serve", 2, "", "cat-herder: unknown argument \"serve\"\n" + hint},
		{"-p 80", 2, "", "cat-herder: unknown argument \"-p\"\n" + hint},
		{"health now", 2, "", "cat-herder: health takes no arguments, not \"now\"\n" + hint},
		{"settings json", 2, "", "cat-herder: settings takes -o FORMAT, not \"json\"\n" + hint},
		{"settings -o yaml", 2, "", "cat-herder: no format \"yaml\": text, json or markdown\n" + hint},
	} {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := command(strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.stdout, stdout); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettingsCommand(t *testing.T) {
	_, stdout, _ := command("settings", "-o", "json")
	var got []env.Setting
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(env.Settings(testConfig{}), got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	for format, print := range map[string]func(*strings.Builder) error{
		"text":     func(b *strings.Builder) error { return env.Text(b, testConfig{}) },
		"markdown": func(b *strings.Builder) error { return env.Markdown(b, testConfig{}) },
	} {
		var want strings.Builder
		if err := print(&want); err != nil {
			t.Fatal(err)
		}
		if _, stdout, _ := command("settings", "-o", format); stdout != want.String() || stdout == "" {
			t.Errorf("%s:\n%s\nwant\n%s", format, stdout, want.String())
		}
	}
	if _, text, _ := command("settings", "-o", "text"); text != second(command("settings")) {
		t.Error("text is not the default")
	}
}

func second(_ int, s, _ string) string { return s }

func TestConfigMustBeEmbedded(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	type bare struct{ Daemon Config }
	newProgram(Program[bare]{Name: "x", Run: func(context.Context, bare, *Process) error { return nil }})
}
