package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"distlab/containers/internal/resp"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// fakeRedis answers commands with what it is told, in the protocol's own bytes.
type fakeRedis struct {
	addr    string
	answers map[string]string // by the words of the command; "" hangs

	mu   sync.Mutex
	said map[string]int // commands that came
	free chan struct{}  // closed: those that hang go on
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func startRedis(t *testing.T, answers map[string]string) *fakeRedis {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeRedis{addr: ln.Addr().String(), answers: answers, said: map[string]int{}, free: make(chan struct{})}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

func (f *fakeRedis) serve(c net.Conn) {
	defer c.Close()
	in := resp.NewReader(c)
	for {
		v, err := in.Reply(replyBudget)
		if err != nil {
			return
		}
		var words []string
		for _, w := range v.List {
			words = append(words, w.Text)
		}
		command := strings.Join(words, " ")
		f.mu.Lock()
		f.said[command]++
		answer, ok := f.answers[command]
		f.mu.Unlock()
		switch {
		case !ok:
			answer = "-ERR unknown command\r\n"
		case strings.HasPrefix(answer, "hang:"):
			<-f.free
			answer = answer[5:]
		case answer == "cut":
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func (f *fakeRedis) count(command string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said[command]
}

func (f *fakeRedis) set(command, answer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[command] = answer
}

// golden is a file of testdata.
func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// newTarget is a target for a test.
func newTarget(source Source, timeout time.Duration) *Target {
	return &Target{
		Name: "it", Source: source, Timeout: timeout, Metrics: newMetrics(prometheus.NewRegistry()),
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
	}
}

// gather is a page as a registry has it, which refuses what is not consistent.
func gather(t testing.TB, p *page) map[string]*dto.MetricFamily {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(p)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]*dto.MetricFamily{}
	for _, f := range all {
		m[f.GetName()] = f
	}
	return m
}

// sample is the value of a series, labels written name=value; false if it is not there.
func sample(p map[string]*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	for _, m := range p[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range m.Label {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		all := true
		for _, l := range labels {
			all = all && has[l]
		}
		if all {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue(), true
		}
	}
	return 0, false
}

// wants compares samples, written `name{a=b} value`; without a value the series must not be there.
func wants(t *testing.T, p map[string]*dto.MetricFamily, lines ...string) {
	t.Helper()
	for _, line := range lines {
		series, value, present := strings.Cut(line, " ")
		name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		var all []string
		if labels != "" {
			all = strings.Split(labels, ",")
		}
		got, ok := sample(p, name, all...)
		if ok != present || present && fmt.Sprint(got) != value {
			t.Errorf("%s: got %v %v, want %q", series, got, ok, value)
		}
	}
}

// collect asks a fake Redis once.
func collect(t *testing.T, f *fakeRedis) map[string]*dto.MetricFamily {
	t.Helper()
	return gather(t, newTarget(&Redis{Addr: f.addr, EmptyDatabases: true}, 2*time.Second).Scrape(context.Background()))
}
