package env

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// common stands for daemon.Config: embedded, and last in the documentation.
type common struct {
	Admin Addr `env:"ADMIN_ADDR" default:":9090" help:"admin port"`
}

type config struct {
	common
	Port    int            `env:"PORT" min:"1" max:"65535" help:"port to forward to"`
	Name    string         `env:"NAME" default:"anna" help:"a name"`
	Mode    string         `env:"MODE" default:"http" oneof:"http|tcp" help:"what is inside"`
	On      bool           `env:"ON" default:"true" help:"whether"`
	Small   int8           `env:"SMALL" default:"-3" help:"a small one"`
	Count   uint           `env:"COUNT" default:"0" help:"how many"`
	Ratio   float64        `env:"RATIO" default:"0.5" min:"0" help:"a part"`
	Linger  time.Duration  `env:"LINGER" default:"1m30s" max:"1h" help:"how long"`
	Size    Bytes          `env:"SIZE" default:"64KiB" min:"1KiB" help:"how large"`
	Names   []string       `env:"NAMES" default:"" help:"some | names"`
	Trusted []netip.Prefix `env:"TRUSTED" default:"10.0.0.0/8" help:"networks"`
	Sizes   []Bytes        `env:"SIZES" default:"" help:"sizes"`
	Level   slog.Level     `env:"LEVEL" default:"info" help:"a type of the standard library"`
	Token   string         `env:"TOKEN" default:"" secret:"true" help:"a token"`
	PIN     int            `env:"PIN" default:"" secret:"true" help:"a number"`
	Note    string         // not a setting
}

func lookup(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

var comparers = cmp.Options{
	cmp.AllowUnexported(config{}),
	cmpopts.EquateComparable(netip.Prefix{}),
}

func defaults() config {
	return config{
		common: common{Admin: ":9090"},
		Port:   8080, Name: "anna", Mode: "http", On: true, Small: -3, Ratio: 0.5,
		Linger: 90 * time.Second, Size: 64 << 10,
		Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "s3cret \r\n")
	for _, tt := range []struct {
		name string
		vars map[string]string
		want func(*config)
	}{
		{"defaults", nil, func(*config) {}},
		{"set to nothing is unset", map[string]string{"NAME": "", "LINGER": "", "TOKEN": "", "TOKEN_FILE": ""}, func(*config) {}},
		{"text", map[string]string{"NAME": " b, c "}, func(c *config) { c.Name = " b, c " }},
		{"one of", map[string]string{"MODE": "tcp"}, func(c *config) { c.Mode = "tcp" }},
		{"bool", map[string]string{"ON": "0"}, func(c *config) { c.On = false }},
		{"numbers", map[string]string{"SMALL": "-128", "COUNT": "7", "RATIO": "1e-3"}, func(c *config) { c.Small, c.Count, c.Ratio = -128, 7, 0.001 }},
		{"duration", map[string]string{"LINGER": "0"}, func(c *config) { c.Linger = 0 }},
		{"the greatest duration", map[string]string{"LINGER": "60m"}, func(c *config) { c.Linger = time.Hour }},
		{"size", map[string]string{"SIZE": "2MB"}, func(c *config) { c.Size = 2_000_000 }},
		{"the least size", map[string]string{"SIZE": "1024"}, func(c *config) { c.Size = 1024 }},
		{"list", map[string]string{"NAMES": "a, b,,c,"}, func(c *config) { c.Names = []string{"a", "b", "c"} }},
		{"list of sizes", map[string]string{"SIZES": "1,1KB"}, func(c *config) { c.Sizes = []Bytes{1, 1000} }},
		{"networks", map[string]string{"TRUSTED": "192.168.7.9/16,::1, 10.0.0.7"}, func(c *config) {
			c.Trusted = []netip.Prefix{
				netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.0.0.7/32"),
			}
		}},
		{"unmarshals itself", map[string]string{"LEVEL": "WARN+1"}, func(c *config) { c.Level = slog.LevelWarn + 1 }},
		{"embedded", map[string]string{"ADMIN_ADDR": "127.0.0.1:0"}, func(c *config) { c.Admin = "127.0.0.1:0" }},
		{"secret", map[string]string{"TOKEN": "s3cret", "PIN": "17"}, func(c *config) { c.Token, c.PIN = "s3cret", 17 }},
		{"secret from a file, without its line end", map[string]string{"TOKEN_FILE": file}, func(c *config) { c.Token = "s3cret " }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vars := map[string]string{"PORT": "8080"}
			for k, v := range tt.vars {
				vars[k] = v
			}
			want := defaults()
			want.Note = "mine"
			tt.want(&want)
			got := config{Note: "mine"}
			if err := Load(&got, lookup(vars)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, comparers); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	empty, large, bad := filepath.Join(dir, "empty"), filepath.Join(dir, "large"), filepath.Join(dir, "bad")
	write(t, empty, "\n")
	write(t, large, strings.Repeat("x", maxSecret+1))
	write(t, bad, "hunter2")
	for _, tt := range []struct{ name, value, want string }{
		{"PORT", "", `PORT: required (port to forward to)`},
		{"PORT", "http", `PORT="http": not a whole number`},
		{"PORT", "0x50", `PORT="0x50": not a whole number`},
		{"PORT", "0", `PORT="0": not between 1 and 65535`},
		{"PORT", "65536", `PORT="65536": not between 1 and 65535`},
		{"PORT", "99999999999999999999", `PORT="99999999999999999999": out of range`},
		{"MODE", "udp", `MODE="udp": not one of http, tcp`},
		{"ON", "yes", `ON="yes": not true or false`},
		{"SMALL", "128", `SMALL="128": out of range`},
		{"COUNT", "-1", `COUNT="-1": not a whole number of 0 or more`},
		{"RATIO", "half", `RATIO="half": not a number`},
		{"RATIO", "NaN", `RATIO="NaN": not a number`},
		{"RATIO", "Inf", `RATIO="Inf": not a number`},
		{"RATIO", "-0.1", `RATIO="-0.1": less than the minimum, 0`},
		{"LINGER", "5", `LINGER="5": not a duration like 500ms or 10s`},
		{"LINGER", "-5s", `LINGER="-5s": not a duration like 500ms or 10s`},
		{"LINGER", "61m", `LINGER="61m": more than the maximum, 1h`},
		{"LINGER", "5\ns", `LINGER="5\ns": not a duration like 500ms or 10s`},
		{"SIZE", "64kib", `SIZE="64kib": not a size like 64KiB or 1MB`},
		{"SIZE", "100B", `SIZE="100B": less than the minimum, 1KiB`},
		{"TRUSTED", "10.0.0.0/8,nowhere", `TRUSTED="10.0.0.0/8,nowhere": "nowhere": not a network like 10.0.0.0/8 or an address like 10.0.0.7`},
		{"TRUSTED", "fe80::1%eth0", `TRUSTED="fe80::1%eth0": "fe80::1%eth0": not a network like 10.0.0.0/8 or an address like 10.0.0.7`},
		{"LEVEL", "loud", `LEVEL="loud": slog: level string "loud": unknown name`},
		{"ADMIN_ADDR", "9090", `ADMIN_ADDR="9090": not a listen address like :8443 or 127.0.0.1:8443`},
		{"PIN", "hunter2", `PIN: not a whole number (value not shown)`},
		{"PIN_FILE", bad, `PIN_FILE: not a whole number (value not shown)`},
		{"TOKEN_FILE", filepath.Join(dir, "none"), `TOKEN_FILE="` + filepath.Join(dir, "none") + `": no such file or directory`},
		{"TOKEN_FILE", dir, `TOKEN_FILE="` + dir + `": is a directory`},
		{"TOKEN_FILE", empty, `TOKEN_FILE="` + empty + `": an empty file`},
		{"TOKEN_FILE", large, `TOKEN_FILE="` + large + `": larger than 64KiB`},
	} {
		t.Run(tt.want, func(t *testing.T) {
			vars := map[string]string{"PORT": "8080", tt.name: tt.value}
			err := Load(new(config), lookup(vars))
			if err == nil {
				t.Fatalf("no error, want %s", tt.want)
			}
			if err.Error() != tt.want {
				t.Errorf("error\n%s\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestLoadReportsAllAtOnceAndNoSecret(t *testing.T) {
	err := Load(new(config), lookup(map[string]string{
		"LINGER": "5", "TOKEN": "hunter2", "TOKEN_FILE": "/run/secrets/token", "PIN": "hunter2", "ADMIN_ADDR": "x",
	}))
	want := strings.Join([]string{
		`PORT: required (port to forward to)`,
		`LINGER="5": not a duration like 500ms or 10s`,
		`TOKEN: set here and in TOKEN_FILE, only one is allowed (value not shown)`,
		`PIN: not a whole number (value not shown)`,
		`ADMIN_ADDR="x": not a listen address like :8443 or 127.0.0.1:8443`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
}

func TestRequiredSecret(t *testing.T) {
	var cfg struct {
		Key string `env:"KEY" secret:"true" help:"a key"`
	}
	err := Load(&cfg, lookup(nil))
	if want := "KEY: required, here or in KEY_FILE (a key)"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestMistakesInTagsPanic(t *testing.T) {
	for name, cfg := range map[string]any{
		"not a pointer": config{},
		"bad default": &struct {
			A int `env:"A" default:"x" help:"h"`
		}{},
		"default out of bounds": &struct {
			A int `env:"A" default:"0" min:"1" help:"h"`
		}{},
		"no help": &struct {
			A int `env:"A" default:"1"`
		}{},
		"lower-case name": &struct {
			A int `env:"a" default:"1" help:"h"`
		}{},
		"unknown type": &struct {
			A map[string]int `env:"A" default:"" help:"h"`
		}{},
		"list of lists": &struct {
			A [][]int `env:"A" default:"" help:"h"`
		}{},
		"bounds of text": &struct {
			A string `env:"A" default:"" min:"1" help:"h"`
		}{},
		"bad bound": &struct {
			A int `env:"A" default:"" max:"many" help:"h"`
		}{},
		"declared twice": &struct {
			A int `env:"A" default:"1" help:"h"`
			B int `env:"A" default:"1" help:"h"`
		}{},
		"the file of a secret": &struct {
			A string `env:"A" default:"" secret:"true" help:"h"`
			B string `env:"A_FILE" default:"" help:"h"`
		}{},
		"not exported": &struct {
			a int `env:"A" default:"1" help:"h"`
		}{},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			Load(cfg, lookup(nil))
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
