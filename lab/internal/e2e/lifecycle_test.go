package e2e

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

const plain = "distlab-test-plain"

func TestUpVerifyDown(t *testing.T) {
	w := newWorld(t, "test/plain")
	up := w.want(0, []string{"up", "plain"}, "test/plain is up", "http://127.0.0.1:", "lab verify test/plain", "lab down test/plain")
	if strings.Contains(up.stdout, "{") {
		t.Errorf("a placeholder was not filled in:\n%s", up.stdout)
	}
	w.want(0, []string{"verify", "plain", "--claim", "answers"}, "answers", "200", "record: ", ".lab/runs/test-plain/")
	w.want(1, []string{"verify", "plain", "--claim", "wrong"}, "two and two is five")
	w.want(2, []string{"verify", "plain", "--claim", "unsure"}, "nothing to measure with")
	w.want(1, []string{"verify", "plain", "--claim", "unsure,wrong,answers"})
	w.want(0, []string{"logs", "plain", "app"}, "app    | {")
	w.want(64, []string{"logs", "plain", "ap"}, "app")

	var list []struct {
		Lab, Instance, State string
		Endpoints            []struct {
			Service string
			Port    int
			Address string
			URL     string
		}
	}
	if err := json.Unmarshal([]byte(w.want(0, []string{"status", "-o", "json"}).stdout), &list); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range list {
		if s.Lab != "test/plain" {
			continue
		}
		found = true
		if s.State != "up" || len(s.Endpoints) != 1 {
			t.Fatalf("status: %+v", s)
		}
		res, err := http.Get(s.Endpoints[0].URL + "about")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("the endpoint answers %d", res.StatusCode)
		}
	}
	if !found {
		t.Errorf("status does not list test/plain: %+v", list)
	}
	w.want(0, []string{"down", "plain"}, "test/plain is down")
	w.gone(plain)
	w.want(0, []string{"down", "plain"}, "was not up")
	w.want(3, []string{"verify", "plain"}, "is not up", "lab up test/plain")
}

// TestUpAgain: what runs is left alone, what is missing is made anew.
func TestUpAgain(t *testing.T) {
	w := newWorld(t, "test/plain")
	w.want(0, []string{"up", "plain"})
	before := w.containers(plain)
	w.want(0, []string{"up", "plain"})
	for service, c := range w.containers(plain) {
		if c.ID != before[service].ID {
			t.Errorf("service %s was made anew though it ran", service)
		}
	}
	_, err := w.engine.Docker.ContainerRemove(t.Context(), before["app"].ID, client.ContainerRemoveOptions{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.engine.Docker.ContainerStop(t.Context(), before["beside"].ID, client.ContainerStopOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.want(0, []string{"up", "plain"})
	after := w.containers(plain)
	if after["app"].ID == "" || after["app"].ID == before["app"].ID {
		t.Errorf("the removed service was not made anew: %v", after)
	}
	if after["beside"].ID != before["beside"].ID {
		t.Error("the stopped service was made anew, not started")
	}
	w.want(0, []string{"verify", "plain", "--claim", "answers"})
}

// TestPodStays: a pod that is up is left alone by a second up. docker/compose 5.2 and 5.3 made every container with
// network_mode: service:… anew each time (docker/compose#13878).
func TestPodStays(t *testing.T) {
	const project = "distlab-test-pod"
	w := newWorld(t, "test/pod")
	w.want(0, []string{"up", "pod"})
	before := w.containers(project)
	for range 2 {
		w.want(0, []string{"up", "pod"})
		for service, c := range w.containers(project) {
			if c.ID != before[service].ID {
				t.Errorf("service %s was made anew though it ran", service)
			}
		}
	}
}

// TestRecordElsewhere: a verdict is not lost because the stack was started from another clone, or because nothing can be kept.
func TestRecordElsewhere(t *testing.T) {
	w := newWorld(t, "test/plain")
	w.want(0, []string{"up", "plain"})
	other := another(t, w)
	verify := []string{"verify", "plain", "--claim", "answers"}
	other.want(0, verify, "pass: 1 of 1 claims", "record: ")
	latest := filepath.Join(other.root, ".lab", "runs", "test-plain", "latest")
	for _, name := range []string{"report.json", "compose.yaml", "containers.json", "app-1.log"} {
		if _, err := os.Stat(filepath.Join(latest, name)); err != nil {
			t.Error(err)
		}
	}
	if err := os.RemoveAll(w.root); err != nil { // the clone that it came from
		t.Fatal(err)
	}
	other.want(0, verify, "pass: 1 of 1 claims", "record: ")
	runs := filepath.Join(other.root, ".lab", "runs")
	if err := errors.Join(os.RemoveAll(runs), os.WriteFile(runs, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	other.want(0, verify, "pass: 1 of 1 claims", "warning: the record is not whole")
	other.want(0, []string{"down", "plain"})
}

func TestTwoInstances(t *testing.T) {
	w := newWorld(t, "test/plain")
	t.Cleanup(func() { w.clean(plain + "-two") })
	first, second := w.start("up", "plain"), w.start("up", "plain", "--name", "two")
	for _, p := range []*process{first, second} {
		if r := p.wait(); r.code != 0 {
			t.Fatalf("exit code %d\n%s", r.code, r.stderr)
		}
	}
	one, two := w.start("verify", "plain", "--claim", "answers"), w.start("verify", "plain", "--name", "two", "--claim", "answers")
	for _, p := range []*process{one, two} {
		if r := p.wait(); r.code != 0 {
			t.Errorf("exit code %d\n%s", r.code, r.stderr)
		}
	}
	w.want(0, []string{"down", "plain"})
	w.gone(plain)
	if len(w.containers(plain+"-two")) != 2 {
		t.Error("taking one instance down took the other")
	}
	w.want(0, []string{"down", "plain", "--name", "two"})
	w.gone(plain + "-two")
}

func TestVariant(t *testing.T) {
	w := newWorld(t, "test/plain")
	w.want(0, []string{"up", "plain"})
	before := w.containers(plain)
	w.want(1, []string{"verify", "plain", "--variant", "loopback"}, "answers")
	after := w.containers(plain)
	if before["beside"].ID != after["beside"].ID {
		t.Error("a service that the variant leaves alone was made anew")
	}
	w.want(0, []string{"verify", "plain", "--claim", "answers"})
	w.want(0, []string{"up", "plain", "--variant", "loopback"}, "broken as loopback")
	w.want(0, []string{"status"}, "variant loopback")
	w.want(1, []string{"verify", "plain", "--claim", "answers"})
	w.want(0, []string{"up", "plain"})
	w.want(0, []string{"verify", "plain", "--claim", "answers"})
}

func TestPortTaken(t *testing.T) {
	w := newWorld(t, "test/plain")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	w.env = []string{"HTTP_PORT=" + strconv.Itoa(port)}
	w.want(3, []string{"up", "plain"}, "a port is taken", strconv.Itoa(port), "hint:")
	w.gone(plain)
}

func TestDiesAtStart(t *testing.T) {
	w := newWorld(t, "test/dies")
	w.want(3, []string{"up", "dies"},
		"app", "exited with code 2", `LISTEN_ADDR="nowhere"`, // the dead one's last lines
		"beside", "running", // and how the others are
		"hint:")
	w.gone("distlab-test-dies")
}

func TestImageNobodyHas(t *testing.T) {
	w := newWorld(t, "test/absent")
	w.want(3, []string{"up", "absent"}, "127.0.0.1:1/distlab/absent:1", "hint:")
	w.gone("distlab-test-absent")
}
