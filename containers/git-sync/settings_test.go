package main

import (
	"strings"
	"testing"

	"distlab/containers/internal/env"
)

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		vars string // after REPO
		repo string
		err  string // empty: good
	}{
		"least":              {repo: "http://git.example/site.git"},
		"https":              {repo: "https://me@git.example:8443/a/b.git/"},
		"no repository":      {err: "REPO: required"},
		"a file":             {repo: "file:///srv/site.git", err: `scheme "file"`},
		"a path":             {repo: "/srv/site.git", err: "scheme"},
		"git":                {repo: "git://git.example/site.git", err: `scheme "git"`},
		"no path":            {repo: "https://git.example/", err: "a host and a path"},
		"a query":            {repo: "https://git.example/x.git?a=b", err: "no query"},
		"a password":         {repo: "https://me:secret@git.example/x.git", err: "PASSWORD_PATH"},
		"ssh alone":          {repo: "ssh://git@git.example/x.git", err: "SSH_KNOWN_HOSTS_PATH"},
		"scp alone":          {repo: "git@git.example:x.git", err: "SSH_KNOWN_HOSTS_PATH"},
		"ssh":                {repo: "git@git.example:x.git", vars: "SSH_KEY_PATH=/k SSH_KNOWN_HOSTS_PATH=/h"},
		"ref":                {repo: "http://h/x", vars: "REF=a..b", err: "REF="},
		"ref option":         {repo: "http://h/x", vars: "REF=--upload-pack=x", err: "REF="},
		"ref sha256":         {repo: "http://h/x", vars: "REF=" + strings.Repeat("ab", 32), err: "SHA-1"},
		"root":               {repo: "http://h/x", vars: "ROOT=git", err: "not an absolute path"},
		"link up":            {repo: "http://h/x", vars: "LINK=..", err: "LINK="},
		"link on itself":     {repo: "http://h/x", vars: "LINK=.worktrees", err: "LINK="},
		"same links":         {repo: "http://h/x", vars: "STAGED_LINK=live", err: "STAGED_LINK="},
		"check url":          {repo: "http://h/x", vars: "CHECK_URL=localhost:80", err: "CHECK_URL="},
		"health url":         {repo: "http://h/x", vars: "HEALTH_URL=/health", err: "HEALTH_URL="},
		"hook url":           {repo: "http://h/x", vars: "HOOK_URL=ftp://h/", err: "HOOK_URL="},
		"limits":             {repo: "http://h/x", vars: "MAX_FILE=2GiB MAX_TREE=1GiB", err: "MAX_FILE="},
		"period":             {repo: "http://h/x", vars: "PERIOD=1ms", err: "PERIOD="},
		"submodules":         {repo: "http://h/x", vars: "SUBMODULES=recursive", err: "SUBMODULES="},
		"all at once, first": {repo: "http://h/x", vars: "ROOT=x LINK=.. REF=a..b", err: "LINK="},
		"all at once, last":  {repo: "http://h/x", vars: "ROOT=x LINK=.. REF=a..b", err: "REF="},
	} {
		t.Run(name, func(t *testing.T) {
			vars := map[string]string{"REPO": c.repo}
			for _, v := range strings.Fields(c.vars) {
				name, value, _ := strings.Cut(v, "=")
				vars[name] = value
			}
			var cfg config
			err := env.Load(&cfg, func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
			if err == nil {
				err = cfg.valid()
			}
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("%v; want an error with %q", err, c.err)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}

func TestRepoURL(t *testing.T) {
	for text, want := range map[string][2]string{
		"git@host:a/b.git":       {"git@host", "a/b.git"},
		"git@host:/a/b.git":      {"git@host", "/a/b.git"},
		"ssh://git@host:22/~/b/": {"git@host:22", "/~/b"},
		"https://host/a.git/":    {"host", "/a.git"},
	} {
		var u repoURL
		if err := u.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		host := u.Host
		if u.User != nil {
			host = u.User.String() + "@" + host
		}
		if host != want[0] || u.Path != want[1] {
			t.Errorf("%s: %s %s, want %v", text, host, u.Path, want)
		}
	}
}

func FuzzRepoURL(f *testing.F) {
	for _, s := range []string{"git@host:x", "https://h/x", "ssh://a:b@h/x", "http://[::1]:80/x", ":", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var u repoURL
		if u.UnmarshalText([]byte(s)) == nil {
			if u.Host == "" || u.Path == "" {
				t.Errorf("%q is taken as %v", s, u)
			}
		}
	})
}
