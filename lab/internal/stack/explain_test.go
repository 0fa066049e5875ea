package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"distlab/lab/internal/hint"
)

// TestExplain: what the engine says in its own words becomes a fact and a remedy, and the cause is not lost.
func TestExplain(t *testing.T) {
	for _, c := range []struct{ says, fact, remedy string }{
		{"permission denied while trying to connect to the docker API at unix:///var/run/docker.sock", "may not talk to Docker", "docker group"},
		{"Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "cannot reach Docker at unix:///x", "start it"},
		{"failed to connect to the docker API at unix:///x: no such file", "cannot reach Docker", "DOCKER_HOST"},
		{"write /var/lib/docker/tmp/x: no space left on device", "disk is full", "lab gc"},
		{"Bind for 127.0.0.1:8443 failed: port is already allocated", "a port is taken: start: Bind for 127.0.0.1:8443", "port variable"},
		{"listen tcp4 127.0.0.1:80: bind: address already in use", "a port is taken", "port variable"},
		{"could not find an available, non-overlapping IPv4 address pool among the defaults", "no subnet left", "docker network prune"},
		{"all predefined address pools have been fully subnetted", "no subnet left", "docker network prune"},
	} {
		cause := errors.New(c.says)
		err := Explain("unix:///x", fmt.Errorf("start: %w", cause))
		if !strings.Contains(err.Error(), c.fact) || !strings.Contains(hint.Of(err), c.remedy) {
			t.Errorf("%q: fact %q, hint %q; want %q, %q", c.says, err, hint.Of(err), c.fact, c.remedy)
		}
	}
	denied := fmt.Errorf("dial unix /x: %w", os.ErrPermission)
	if err := Explain("unix:///x", denied); !strings.Contains(err.Error(), "permission denied") || hint.Of(err) == "" {
		t.Errorf("a refused socket: %v, hint %q", err, hint.Of(err))
	}
	if err := Explain("unix:///x", context.Canceled); !errors.Is(err, context.Canceled) || hint.Of(err) != "" {
		t.Errorf("an interruption is explained as %v, hint %q", err, hint.Of(err))
	}
	if Explain("unix:///x", nil) != nil {
		t.Error("no error is explained")
	}
	told := hint.New("a fact", "a remedy")
	if err := Explain("unix:///x", told); hint.Of(err) != "a remedy" {
		t.Errorf("a remedy was replaced by %q", hint.Of(err))
	}
}

// TestLimit: a time that ran out is called what it was, and only a silent engine is called one.
func TestLimit(t *testing.T) {
	e := &Engine{Host: "unix:///x"}
	for _, c := range []struct {
		cause  error
		says   string
		remedy string
	}{
		{errSilent, "no answer from Docker at unix:///x within 10s", "restart it"},
		{limit("healing distlab-x", time.Minute), "healing distlab-x took longer than 1m0s (list containers)", ""},
		{errors.New("the claim took longer than 5s"), "the claim took longer than 5s (list containers)", ""},
		{nil, "its time ran out: context deadline exceeded", ""},
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 0, c.cause)
		defer cancel()
		// As the client says it, with and without the cause.
		for _, says := range []error{
			fmt.Errorf("list containers: %w", context.DeadlineExceeded),
			fmt.Errorf("list containers: error during connect: Get \"http://x/containers\": %w", context.Cause(ctx)),
		} {
			err := e.explain(ctx, says)
			if err.Error() != c.says || (c.remedy == "") != (hint.Of(err) == "") || !strings.Contains(hint.Of(err), c.remedy) {
				t.Errorf("%v: %q, hint %q; want %q, %q", says, err, hint.Of(err), c.says, c.remedy)
			}
		}
	}
	if err := e.explain(t.Context(), errors.New("a fact")); err.Error() != "a fact" {
		t.Errorf("with time left: %v", err)
	}
}
