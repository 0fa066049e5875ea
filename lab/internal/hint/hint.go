// Package hint gives an error a remedy. An error of this project is a fact, then a remedy; the fact travels as the
// error's text, the remedy beside it, so that neither is lost on the way up and only the command line prints them:
//
//	lab: cannot reach Docker at unix:///var/run/docker.sock: connection refused
//	hint: start it: sudo service docker start
package hint

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Wrap gives err a remedy: one or more whole lines, lower-case, no full stop. The text of the error stays as it is.
// Wrap of nil is nil.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// New is an error with its remedy.
func New(fact, hint string) error {
	return &hinted{errors.New(fact), hint}
}

// Of is the remedy that belongs to err, or "". Of several, it is the outermost: whoever wrapped last knew most about
// what the person was doing.
func Of(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.hint
	}
	return ""
}

// Here is a remedy as this person types it, in the present folder: a script of the clone (scripts/setup) by a path that leads to it,
// and sudo only where there is one and it is needed.
func Here(text string) string {
	wd, _ := os.Getwd()
	_, err := exec.LookPath("sudo")
	return place{clone: os.Getenv("DISTLAB_ROOT"), folder: wd, root: os.Geteuid() == 0, sudo: err == nil}.typed(text)
}

// place is what decides how a command is typed.
type place struct {
	clone, folder string
	root, sudo    bool
}

var script = regexp.MustCompile(`(^|[\s(])scripts/(lab|setup|test|bench|debian-image)\b`)

func (p place) typed(text string) string {
	switch {
	case p.root:
		text = strings.ReplaceAll(text, "sudo ", "")
	case !p.sudo:
		text = strings.ReplaceAll(text, "sudo ", "as root: ")
	}
	if p.clone == "" {
		return text
	}
	path := filepath.Join(p.clone, "scripts")
	if rel, err := filepath.Rel(p.folder, path); err == nil && filepath.IsLocal(rel) {
		path = rel
	}
	return script.ReplaceAllString(text, "${1}"+strings.ReplaceAll(path, "$", "$$")+"/$2")
}

// Service is the command that does something (start, restart) to the Docker engine of this machine.
func Service(verb string) string {
	if info, err := os.Stat("/run/systemd/system"); err == nil && info.IsDir() {
		return "sudo systemctl " + verb + " docker"
	}
	if _, err := exec.LookPath("service"); err == nil {
		return "sudo service docker " + verb
	}
	return "sudo scripts/setup engine"
}
