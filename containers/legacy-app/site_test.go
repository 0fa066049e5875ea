package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseSettings(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       func(*Settings)
	}{
		{"nothing", "", func(*Settings) {}},
		{"comments and blanks", "# title = no\n\n  \t\n#", func(*Settings) {}},
		{"all", "title = A\ngreeting = B = C\nslow = 2s\nmax_upload = 1KiB\n", func(s *Settings) {
			*s = Settings{Title: "A", Greeting: "B = C", Slow: 2 * time.Second, MaxUpload: 1024}
		}},
		{"blanks, CRLF, no last line end", " title\t=  Ä shop \r\nslow=0", func(s *Settings) { s.Title, s.Slow = "Ä shop", 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := builtin
			tt.want(&want)
			got, err := ParseSettings([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseSettingsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"# ok\ntitle":                        `2: "title" is not key = value`,
		"titel = A":                          `1: no setting "titel": title, greeting, include, slow, max_upload`,
		"title = A\n\ntitle = B":             `3: title was set in line 1`,
		"title =":                            `1: title = "": empty`,
		"greeting = \xff":                    `1: greeting = "\xff": not UTF-8`,
		"slow = 5":                           `1: slow = "5": not a duration of at most 1m0s`,
		"slow = -1s":                         `1: slow = "-1s": not a duration of at most 1m0s`,
		"slow = 61s":                         `1: slow = "61s": not a duration of at most 1m0s`,
		"max_upload = much":                  `1: max_upload = "much": not a size like 64KiB or 1MB`,
		"#\n" + strings.Repeat("x", maxLine): `2: longer than 4096 bytes`,
	} {
		if _, err := ParseSettings([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%.40q: error %v, want %s", text, err, want)
		}
	}
}

// FuzzParseSettings: whatever a file holds, it is either refused with the
// number of a line that it has, or gives settings that are within bounds.
func FuzzParseSettings(f *testing.F) {
	f.Add("title = A\nslow = 1s\n")
	f.Add("# c\n\nmax_upload = 8MiB")
	f.Add("title")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSettings([]byte(text))
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		if s.Title == "" || s.Greeting == "" || s.Slow < 0 || s.Slow > maxSlow || s.MaxUpload < 0 {
			t.Errorf("settings out of bounds: %+v", s)
		}
	})
}

func TestSiteReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.conf")
	if _, err := OpenSite(path); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("a missing file: %v", err)
	}
	writeFile(t, path, "title = One")
	site, err := OpenSite(path)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := site.State()
	writeFile(t, path, "title = Two\nslow = now")
	want := `settings: ` + path + `:2: slow = "now": not a duration of at most 1m0s`
	if err := site.Reload(); err == nil || err.Error() != want {
		t.Errorf("a bad file: %v, want %s", err, want)
	}
	if state, refused := site.State(); !cmp.Equal(state, one) || refused == nil {
		t.Errorf("after a bad file: %+v, refused %v", state, refused)
	}
	writeFile(t, path, strings.Repeat("#", maxSettings+1))
	if err := site.Reload(); err == nil || !strings.Contains(err.Error(), "larger than 64KiB") {
		t.Errorf("a large file: %v", err)
	}
	writeFile(t, path, "title = Three")
	if err := site.Reload(); err != nil {
		t.Fatal(err)
	}
	state, refused := site.State()
	if state.Title != "Three" || state.Loads != 2 || state.SHA256 == one.SHA256 || refused != nil {
		t.Errorf("after a good file: %+v, refused %v", state, refused)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
