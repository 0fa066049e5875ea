package distlab_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"distlab/lab/check"
	"distlab/labs"
)

// TestBench runs every comparison, quickly: that all of it runs and counts, not what comes of it. So it may run beside the people
// of TestLabReadme.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	t.Parallel()
	if err := tool(); err != nil {
		t.Fatal(err)
	}
	for _, l := range labs.Catalog {
		if l.Bench == nil {
			continue
		}
		t.Run(l.Name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := exec.Command("scripts/lab", "bench", l.Name, "--quick", "-o", "json")
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("lab bench: %v\n%s%s", err, &stdout, &stderr)
			}
			var rep check.BenchReport
			if err := json.Unmarshal(stdout.Bytes(), &rep); err != nil {
				t.Fatal(err)
			}
			measured := map[string]check.BenchRow{}
			for _, w := range rep.Workloads {
				for _, row := range w.Rows {
					measured[w.ID+" "+row.Subject] = row
				}
			}
			for _, w := range l.Bench.Workloads {
				_, idle := w.Load.(check.Idle)
				for _, target := range w.Targets {
					row, ok := measured[w.ID+" "+target.Subject]
					if !ok || row.Invalid != "" || !row.Has(check.Memory) || !idle && (!row.Has(check.Rate) || !row.Has(check.CPU)) {
						t.Errorf("%s: %s is not measured: %+v", w.ID, target.Subject, row)
					}
				}
			}
			for _, s := range rep.Subjects {
				if s.Size <= 0 || s.Image == "" || s.CPUs <= 0 || s.MemoryLimit <= 0 {
					t.Errorf("subject %+v", s)
				}
			}
			if !rep.Quick || rep.Machine.Cores < 1 || rep.Engine == "" {
				t.Errorf("%+v", rep)
			}
			nothingLeft(t, l.Name)
		})
	}
}

// TestBenchImages: a machine without a registry can be given what the comparisons need, too, when it is asked for.
func TestBenchImages(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	if err := tool(); err != nil {
		t.Fatal(err)
	}
	users := func(flags ...string) []string {
		var needs []struct{ Labs []string }
		out, err := exec.Command(".lab/bin/lab", append([]string{"images", "-o", "json"}, flags...)...).Output()
		if err := errors.Join(err, json.Unmarshal(out, &needs)); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, n := range needs {
			all = append(all, n.Labs...)
		}
		return all
	}
	without, with := users(), users("--bench")
	for _, l := range labs.Catalog {
		if slices.Contains(without, l.Name+"/bench") || slices.Contains(with, l.Name+"/bench") != (l.Bench != nil) {
			t.Errorf("%s: without the flag %q, with it %q", l.Name, without, with)
		}
	}
}

// TestBenchInterrupted: Ctrl-C in the middle of a measurement takes everything away.
func TestBenchInterrupted(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	if err := tool(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(".lab/bin/lab", "bench", "sidecar/tls", "--quick")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	interrupted := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "round 1 of 1") && !interrupted {
			interrupted = true
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 130 || !interrupted {
		t.Errorf("%v, want exit code 130 after SIGINT:\n%s", err, &said)
	}
	nothingLeft(t, "sidecar/tls")
}

// nothingLeft looks for what a comparison has started.
func nothingLeft(t *testing.T, lab string) {
	t.Helper()
	project := "label=com.docker.compose.project=distlab-bench_" + strings.ReplaceAll(lab, "/", "-")
	for _, list := range [][]string{{"ps", "-a"}, {"network", "ls"}, {"volume", "ls"}} {
		out, err := exec.Command("docker", append(list, "-q", "--filter", project)...).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("docker %s: %v\n%s", list[0], err, out)
		}
	}
}
