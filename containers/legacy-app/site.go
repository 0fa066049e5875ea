package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"distlab/containers/internal/env"
)

// Settings are the site's texts and limits.
type Settings struct {
	Title     string        // title = …, at the top of every page
	Include   string        // include = …, a file beside this one, read after it
	Greeting  string        // greeting = …, on /
	Slow      time.Duration // slow = 1500ms, the delay of /slow without ?ms=
	MaxUpload env.Bytes     // max_upload = 8MiB, the largest file that is taken
}

var builtin = Settings{
	Title:     "The Old Shop",
	Greeting:  "Welcome. We have been here since before the web had locks.",
	Slow:      1500 * time.Millisecond,
	MaxUpload: 8 << 20,
}

// Bounds: a settings file is small, and a slow page ends.
const (
	maxSettings = 64 << 10
	maxSlow     = time.Minute
	maxLine     = 4 << 10
)

// ParseSettings reads lines of `key = value`, empty lines and lines that start
// with #. What is not said keeps its built-in value. A key that is unknown or
// said twice is an error: a typo must not pass for a setting. Errors begin
// with the number of the line.
func ParseSettings(text []byte) (Settings, error) { return parse(builtin, text) }

func parse(s Settings, text []byte) (Settings, error) {
	seen := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok {
			return Settings{}, fmt.Errorf("%d: %q is not key = value", n, line)
		}
		if first, twice := seen[key]; twice {
			return Settings{}, fmt.Errorf("%d: %s was set in line %d", n, key, first)
		}
		seen[key] = n
		if err := s.set(key, value); err != nil {
			return Settings{}, fmt.Errorf("%d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Settings{}, fmt.Errorf("%d: longer than %d bytes", n+1, maxLine)
	}
	return s, nil
}

func (s *Settings) set(key, value string) error {
	var err error
	switch key {
	case "title":
		s.Title, err = value, checkText(value)
	case "greeting":
		s.Greeting, err = value, checkText(value)
	case "include":
		if s.Include = value; !filepath.IsLocal(value) || filepath.Base(value) != value {
			err = errors.New("not the name of a file beside this one")
		}
	case "slow":
		s.Slow, err = time.ParseDuration(value)
		if err != nil || s.Slow < 0 || s.Slow > maxSlow {
			err = fmt.Errorf("not a duration of at most %s", maxSlow)
		}
	case "max_upload":
		err = s.MaxUpload.UnmarshalText([]byte(value))
	default:
		return fmt.Errorf("no setting %q: title, greeting, include, slow, max_upload", key)
	}
	if err != nil {
		return fmt.Errorf("%s = %q: %w", key, value, err)
	}
	return nil
}

func checkText(s string) error {
	switch {
	case s == "":
		return errors.New("empty")
	case !utf8.ValidString(s):
		return errors.New("not UTF-8")
	}
	return nil
}

// Site is the settings in force and where they came from.
type Site struct {
	path string

	mu     sync.RWMutex
	state  SiteState
	reason error
}

// SiteState is one consistent view of a Site.
type SiteState struct {
	Settings
	Loaded time.Time // when these settings came into force
	Loads  int       // how many times settings came into force
	SHA256 string    // of the file; empty for the built-in ones
}

// OpenSite reads the settings file; an empty path is the built-in settings.
func OpenSite(path string) (*Site, error) {
	s := &Site{path: path}
	return s, s.Reload()
}

// Path is the settings file, "" for none.
func (s *Site) Path() string { return s.path }

// Reload reads the file again. On an error the settings in force stay, and
// the reason is kept until a reload succeeds.
func (s *Site) Reload() error {
	settings, sum, err := s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = err
	if err != nil {
		return err
	}
	s.state = SiteState{Settings: settings, Loaded: time.Now(), Loads: s.state.Loads + 1, SHA256: sum}
	return nil
}

// State is the settings in force, and why a newer file was refused.
func (s *Site) State() (state SiteState, refused error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state, s.reason
}

// Settings are the settings in force.
func (s *Site) Settings() Settings {
	state, _ := s.State()
	return state.Settings
}

func (s *Site) read() (settings Settings, sum string, err error) {
	if s.path == "" {
		return builtin, "", nil
	}
	return ReadSettings(s.path)
}

// ReadSettings reads a settings file, and the file that it includes. The sum is that of both, one after the other. The
// folder is resolved once: where it is a link that leads elsewhere by the time of the second file, both are still from
// one folder.
func ReadSettings(path string) (settings Settings, sum string, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Settings{}, "", fmt.Errorf("settings: %w", err)
	}
	text, err := readFile(real)
	if err != nil {
		return Settings{}, "", err
	}
	settings, err = ParseSettings(text)
	if err != nil {
		return Settings{}, "", fmt.Errorf("settings: %s:%w", path, err)
	}
	if settings.Include != "" {
		more, err := readFile(filepath.Join(filepath.Dir(real), settings.Include))
		if err != nil {
			return Settings{}, "", err
		}
		first := settings.Include
		if settings, err = parse(settings, more); err == nil && settings.Include != first {
			err = errors.New("1: an included file includes none")
		}
		if err != nil {
			return Settings{}, "", fmt.Errorf("settings: %s:%w", first, err)
		}
		text = append(text, more...)
	}
	hash := sha256.Sum256(text)
	return settings, hex.EncodeToString(hash[:]), nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if len(text) > maxSettings {
		return nil, fmt.Errorf("settings: %s: larger than %s", path, env.Bytes(maxSettings))
	}
	return text, nil
}
