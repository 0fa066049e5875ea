package cli

import (
	"errors"
	"testing"

	"distlab/lab/internal/hint"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"tls", "tls", 0},
		{"tls", "tsl", 2},
		{"tls", "tl", 1},
		{"tl", "tls", 1},
		{"kitten", "sitting", 3},
		{"intention", "execution", 5},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	verbs := []string{"list", "explain", "up", "verify", "test", "down", "status", "logs", "build", "images", "doctor", "gc"}
	labs := []string{"sidecar/tls", "ambassador/split", "ambassador/shard"}
	for _, c := range []struct {
		word string
		all  []string
		want string
	}{
		{"lsit", verbs, "did you mean list? see"},
		{"verfy", verbs, "did you mean verify? see"},
		{"stat", verbs, "did you mean status? see"}, // by its beginning
		{"x", verbs, "see"},
		{"", verbs, "see"},
		{"zzzzzz", verbs, "see"},
		{"u", verbs, "did you mean up? see"},
		{"tsl", labs, "did you mean sidecar/tls? see"},
		{"sidecar/tsl", labs, "did you mean sidecar/tls? see"},
		{"ambassador", labs, "did you mean ambassador/split or ambassador/shard? see"},
		{"elephant", labs, "there are: sidecar/tls, ambassador/split, ambassador/shard"},
		{"anything", nil, "see"},
		{"aa", []string{"aab", "aac", "aad", "aae"}, "did you mean aab or aac or aad? see"},
	} {
		if got := didYouMean(c.word, c.all, "see"); got != c.want {
			t.Errorf("%q: %q, want %q", c.word, got, c.want)
		}
	}
}

func TestLab(t *testing.T) {
	a := &app{labs: catalog()}
	for name, want := range map[string]string{
		"sidecar/tls": "sidecar/tls", "tls": "sidecar/tls", "ambassador/split": "ambassador/split",
		"split": "", "sidecar": "", "": "", "ls": "", "Sidecar/TLS": "",
	} {
		l, err := a.lab(name)
		if l.Name != want {
			t.Errorf("%q: %q, want %q", name, l.Name, want)
		}
		if _, usage := errors.AsType[usageError](err); (want == "") != usage {
			t.Errorf("%q: error %v", name, err)
		} else if usage && hint.Of(err) == "" {
			t.Errorf("%q: no hint", name)
		}
	}
}

func TestChosen(t *testing.T) {
	a := &app{labs: catalog()}
	labs, err := a.chosen([]string{"tls", "ambassador/split", "sidecar/tls"}, false)
	if err != nil || len(labs) != 2 || labs[0].Name != "sidecar/tls" || labs[1].Name != "ambassador/split" {
		t.Errorf("a lab that is named twice is meant once, in the order of the command line: %v, %v", labs, err)
	}
	if labs, err := a.chosen(nil, true); err != nil || len(labs) != 3 {
		t.Errorf("all: %v, %v", labs, err)
	}
}
