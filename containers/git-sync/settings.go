package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"distlab/containers/internal/env"
)

// repoURL is where the remote repository is.
type repoURL struct{ *url.URL }

// UnmarshalText parses it, and scp's short form git@host:path too.
func (u *repoURL) UnmarshalText(text []byte) error {
	raw := string(text)
	host, path, short := strings.Cut(raw, ":")
	if short = short && !strings.Contains(raw, "://") && !strings.Contains(host, "/"); short {
		raw = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	parsed, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case parsed.Scheme != "http" && parsed.Scheme != "https" && parsed.Scheme != "ssh":
		return fmt.Errorf("scheme %q: http, https or ssh", parsed.Scheme)
	case parsed.Host == "" || strings.Trim(parsed.Path, "/") == "":
		return errors.New("a URL with a host and a path")
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return errors.New("a repository's URL has no query and no fragment")
	}
	parsed.Path = strings.TrimRight(parsed.Path, "/")
	if short && !strings.HasPrefix(path, "/") {
		parsed.Path = strings.TrimPrefix(parsed.Path, "/") // in the user's home
	}
	u.URL = parsed
	return nil
}

// SettingType names the type in the documentation.
func (*repoURL) SettingType() (name, want string) {
	return "URL", "a URL like https://example.org/site.git"
}

// valid finds what no single setting shows. All of it is said at once.
func (c config) valid() error {
	var bad []error
	say := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if _, has := c.Repo.User.Password(); has {
		// Here and not where it is parsed: that error would show it.
		say("REPO: a password in the URL is seen by everyone: put it into the file of PASSWORD_PATH")
	}
	if !filepath.IsAbs(c.Root) {
		say("ROOT=%q: not an absolute path", c.Root)
	}
	if err := validRef(c.Ref); err != nil {
		say("REF=%q: %w", c.Ref, err)
	}
	for name, link := range map[string]string{"LINK": c.Link, "STAGED_LINK": c.StagedLink} {
		if base := filepath.Base(link); link != "" && (base == "." || base == ".." || base == "/" || base == worktrees || base == private) {
			say("%s=%q: not the name of a link", name, link)
		}
	}
	if c.StagedLink != "" && filepath.Clean(c.StagedLink) == filepath.Clean(c.Link) {
		say("STAGED_LINK=%q: LINK is the same: what is not checked would be served", c.StagedLink)
	}
	for name, at := range map[string]string{"CHECK_URL": c.CheckURL, "HEALTH_URL": c.HealthURL, "HOOK_URL": c.HookURL} {
		if u, err := url.Parse(at); at != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			say("%s=%q: not a URL like http://127.0.0.1:8080/", name, at)
		}
	}
	if c.Repo.Scheme == "ssh" {
		if c.KeyPath == "" || c.HostsPath == "" {
			say("REPO=%q: SSH needs SSH_KEY_PATH and SSH_KNOWN_HOSTS_PATH (ssh-keyscan writes the latter)", c.Repo.Redacted())
		}
	} else if c.Repo.Scheme == "http" && c.PasswordPath != "" && !loopback(c.Repo.Hostname()) {
		fmt.Fprintf(os.Stderr, "PASSWORD_PATH: %s gets the password in the clear: use https\n", c.Repo.Host)
	}
	if c.MaxFile > c.MaxTree {
		say("MAX_FILE=%q: more than MAX_TREE=%q", c.MaxFile, c.MaxTree)
	}
	return errors.Join(bad...)
}

func loopback(host string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1"
}

// Limits bound what a remote may do to this machine.
type Limits struct {
	Fetch int64 // bytes of a pack
	File  int64 // bytes of an object
	Tree  int64 // bytes of all files of a commit
	Files int   // entries of a commit
}

// ErrLimit says that a commit is more than the settings let it be.
var ErrLimit = errors.New("over a limit")

func over(what string, is, most int64, setting string) error {
	return fmt.Errorf("%w: %s is %s, more than %s=%s", ErrLimit, what, env.Bytes(is), setting, env.Bytes(most))
}
