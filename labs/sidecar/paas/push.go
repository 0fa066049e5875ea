package paas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"distlab/lab/check"
)

// script makes a commit and pushes it from within the git server's container, over HTTP as anybody would: $1 is the
// label of the new commit, $2 its parent in the repository or nothing, $3 how many pages it has, $4 how many lines
// its large file has, $5 more of git fast-import's commands. One process makes all objects: on a busy machine a
// process is dear.
const script = `
set -e
remote=http://127.0.0.1/git/site.git mine=/tmp/claims.git
if ! test -e $mine/objects/info/alternates; then
  git init -q --bare $mine
  echo /git/site.git/objects >$mine/objects/info/alternates
fi
file() { printf 'M 100644 inline %s\ndata %d\n%s\n' "$1" $((${#2} + 1)) "$2"; }
{
  printf 'commit refs/heads/new\ncommitter claim <claim@example.org> %s +0000\ndata %d\n%s\n' "$(date +%s)" ${#1} "$1"
  if test -n "$2"; then echo "from $(git -C /git/site.git rev-parse "$2")"; fi
  echo deleteall
  file index.html "<h1>$1</h1>"
  file health.txt "well $1"
  file label "$1"
  file a-first "$1"
  file z-last "$1"
  i=0; while [ $i -lt $3 ]; do i=$((i+1)); file page-$i "$1 page $i"; done
  printf 'M 100644 inline large\ndata %d\n' $(($4 * (${#1} + 1))); yes "$1" | head -n $4
  printf '%s\n' "$5"
} | { git -C $mine update-ref -d refs/heads/new; git -C $mine fast-import --quiet --force; }
git -C $mine push -q --force $remote refs/heads/new:refs/heads/main
git -C $mine rev-parse new
`

// size is how large a commit of a claim is.
type size struct{ pages, lines int }

var (
	small = size{20, 3_000}
	big   = size{300, 30_000} // takes a moment to be checked out
)

// commit is one that a claim has pushed.
type commit struct {
	label, hash string
	size
	took time.Duration // that the push took: git's own work, without the sidecar
}

// push pushes a commit on top of a parent, "main" or "main~1", or with none; change is more of git fast-import's
// commands.
func push(m *check.M, of size, parent, change string) commit {
	c := commit{label: m.Fresh(), size: of}
	begun := time.Now()
	c.hash = m.Exec(server, "sh", "-c", script, "push", c.label, parent, fmt.Sprint(of.pages), fmt.Sprint(of.lines), change)
	c.took = time.Since(begun)
	return c
}

// git runs git in the bare repository.
func git(m *check.M, args ...string) string {
	return m.Exec(server, append([]string{"git", "-C", "/git/site.git"}, args...)...)
}

// begin has the claim start from a site that is settled, and puts the repository back when the claim is over.
func begin(m *check.M) (end func()) {
	main, release := git(m, "rev-parse", "main"), git(m, "rev-parse", "release")
	m.Await(patience, "a page", func(m *check.M) error { return m.Get(pod, httpPort, "/").Is(200) })
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(m.Context()), 20*time.Second)
		defer cancel()
		for ref, hash := range map[string]string{"refs/heads/main": main, "refs/tags/release": release} {
			m.Stack.Exec(ctx, server, "git", "-C", "/git/site.git", "update-ref", ref, hash)
		}
		call(ctx, m, token)
	}
}

// call calls the webhook, and is the status of its answer; 0 where nobody answers, as in a variant that has none.
func call(ctx context.Context, m *check.M, token string) int {
	addr, err := m.Stack.Address(ctx, pod, webhookPort)
	if err != nil {
		return 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/webhook", nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// nudge calls the webhook, if there is one.
func nudge(m *check.M) { call(m.Context(), m, token) }

// served is an error unless that commit is what a port serves.
func served(port int, c commit) func(*check.M) error {
	return func(m *check.M) error {
		page := m.Get(pod, port, "/label")
		if got := strings.TrimSpace(string(page.Body)); page.Status != 200 || got != c.label {
			return fmt.Errorf("it serves %d %.40q, not %q", page.Status, got, c.label)
		}
		return nil
	}
}

// arrives waits for a commit to be served, calling the webhook; its absence is a precondition's.
func arrives(m *check.M, c commit) {
	nudge(m)
	m.Await(patience, "the commit "+c.label, served(httpPort, c))
	settled(m)
}

// deployed pushes a good commit and waits until it is served.
func deployed(m *check.M) commit {
	return deployedOf(m, small)
}

func deployedOf(m *check.M, of size) commit {
	c := push(m, of, "main", "")
	arrives(m, c)
	return c
}

// whole compares every file that is served with what was pushed.
func whole(m *check.M, t *check.Tally, port int, c commit) {
	want := map[string]string{
		"/index.html": "<h1>" + c.label + "</h1>\n", "/health.txt": "well " + c.label + "\n", "/a-first": c.label + "\n",
		"/z-last": c.label + "\n", "/large": strings.Repeat(c.label+"\n", c.lines),
	}
	for i := range 5 {
		n := 1 + i*c.pages/5
		want[fmt.Sprintf("/page-%d", n)] = fmt.Sprintf("%s page %d\n", c.label, n)
	}
	for name, text := range want {
		page := m.Get(pod, port, name)
		t.Note(page.Status == 200 && string(page.Body) == text, "%s of %s: %d %.60q", name, c.label, page.Status, page.Body)
	}
	gone := m.Get(pod, port, "/style.css") // of the seed; no commit of a claim has it
	t.Note(gone.Status == 404, "a file that was removed: %d", gone.Status)
}

// status is what the sidecar says of itself.
type status struct {
	Phase string
	Live  *struct{ Commit string }
	Bad   *struct{ Commit, Stage, Reason string }
	Error *struct {
		Message string
		Count   int
	}
	Remote *struct {
		Ref, Commit string
		Age         float64 `json:"age_seconds"`
	}
	Worktrees []string
}

func (s status) live() string {
	if s.Live == nil {
		return ""
	}
	return s.Live.Commit
}

func (s status) bad() string {
	if s.Bad == nil {
		return ""
	}
	return s.Bad.Commit
}

func tells(m *check.M, port int) (s status) {
	p := m.Get(pod, port, "/status")
	check.Must(p.Is(200))
	check.Must(json.Unmarshal(p.Body, &s))
	return s
}

// settled waits until the sidecar is not about to do anything. A stand-in has no status: there is nothing to wait
// for.
func settled(m *check.M) {
	ctx, cancel := context.WithTimeout(m.Context(), 2*time.Second)
	defer cancel()
	addr, err := m.Stack.Address(ctx, pod, adminPort)
	check.Must(err)
	resp, err := http.Get("http://" + addr + "/livez")
	if err != nil {
		return
	}
	resp.Body.Close()
	m.Await(patience, "a sidecar that waits", func(m *check.M) error {
		if s := tells(m, adminPort); s.Phase != "waiting" {
			return errors.New(s.Phase)
		}
		return nil
	})
}

// refused waits until the sidecar holds a commit to be bad, and says so.
func refused(m *check.M, c commit) (check.Took, status) {
	nudge(m)
	var s status
	took, _ := m.Until(patience, func(m *check.M) error {
		if s = tells(m, adminPort); s.bad() != c.hash {
			return fmt.Errorf("bad is %q", s.bad())
		}
		return nil
	})
	return took, s
}

// linked is the commit that the link names, as the app's container sees it.
func linked(m *check.M) string { return path.Base(m.Exec(app, "readlink", "/site/live")) }
