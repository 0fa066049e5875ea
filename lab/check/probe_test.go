package check

import (
	"context"
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnswers(t *testing.T) {
	ctx, f := t.Context(), newFake()
	s := NewStack(f, 1).forClaim("it")
	f.probe = says(`{"error":"","error_kind":"","status":418,"proto":"HTTP/2.0","header":{"A":["b","c"]},"body":"aGk=","bytes":2,
		"sha256":"8f43","seconds":0.5,"local":"10.0.0.3:1","remote":"10.0.0.2:80","tls":{"error":"","handshake":true,"version":"1.3","certificates":[{"serial":"1f","not_after":"2030-01-02T03:04:05Z"}]}}`)
	h, err := s.HTTP(ctx, Inside("pod"), "-insecure", "https://web/")
	if err != nil {
		t.Fatal(err)
	}
	wantHTTP := HTTPAnswer{
		Status: 418, Proto: "HTTP/2.0", Header: map[string][]string{"A": {"b", "c"}}, Body: []byte("hi"), Bytes: 2, SHA256: "8f43",
		Seconds: 0.5, Local: "10.0.0.3:1", Remote: "10.0.0.2:80",
		TLS: &TLSAnswer{Handshake: true, Version: "1.3", Certificates: []Certificate{{Serial: "1f", NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}}},
	}
	if diff := cmp.Diff(wantHTTP, h); diff != "" {
		t.Errorf("http:\n%s", diff)
	}
	f.probe = says(`{"error":"connection refused","error_kind":"refused","connected":false,"received":""}`)
	if a, err := s.TCP(ctx, Outside, "web:80"); err != nil || a.ErrorKind != Refused || a.Connected {
		t.Errorf("tcp: %+v, %v", a, err)
	}
	f.probe = says(`{"error":"","error_kind":"","handshake":true,"alpn":"h2"}`)
	if a, err := s.TLS(ctx, Outside, "web:443"); err != nil || !a.Handshake || a.ALPN != "h2" {
		t.Errorf("tls: %+v, %v", a, err)
	}
	f.probe = says(`{"error":"","status":200}`, `{"error":"x","error_kind":"closed"}`)
	each, err := s.HTTPEach(ctx, Outside, []string{"-http1"}, "http://a/", "http://b/")
	if err != nil || len(each) != 2 || each[0].Status != 200 || each[1].ErrorKind != Closed {
		t.Errorf("each: %+v, %v", each, err)
	}
	want := []string{
		`probe ["http" "-insecure" "https://web/"] beside "pod"`, "close probe",
		`probe ["tcp" "web:80"] beside ""`, "close probe",
		`probe ["tls" "web:443"] beside ""`, "close probe",
		`probe ["http" "-http1" "http://a/" "http://b/"] beside ""`, "close probe",
	}
	if diff := cmp.Diff(want, f.done()); diff != "" {
		t.Errorf("done:\n%s", diff)
	}
}

const result = `{"event":"result","requests":10,"ok":7,"status":{"200":7,"503":1},"errors":{"closed":2},"lost":2,"retried":1,
	"seconds":1.5,"rate":9.9,"latency":{"p99":0.25,"buckets":[{"le":0.1,"count":3},{"le":0,"count":10}]},"first":["EOF"]}`

func TestLoad(t *testing.T) {
	want := LoadAnswer{
		Requests: 10, OK: 7, Status: map[string]int{"200": 7, "503": 1}, Errors: map[ErrorKind]int{Closed: 2}, Lost: 2, Retried: 1,
		Seconds: 1.5, Rate: 9.9, Latency: Latency{P99: 0.25, Buckets: []Bucket{{0.1, 3}, {0, 10}}}, First: []string{"EOF"},
	}
	for _, c := range []struct {
		name string
		run  func(context.Context, *Stack) (*Load, error)
		end  func(*Load, context.Context) (LoadAnswer, error)
		line string
		done []string
	}{
		{"load", func(ctx context.Context, s *Stack) (*Load, error) {
			return s.Load(ctx, Inside("pod"), LoadSpec{Rate: 50, For: 3 * time.Second, Args: []string{"-http1"}, URL: "http://web/"})
		}, (*Load).Result, `{"event":"started"}`, []string{`probe ["load" "-rate" "50" "-duration" "3s" "-http1" "http://web/"] beside "pod"`}},
		{"load, stopped", func(ctx context.Context, s *Stack) (*Load, error) {
			return s.Load(ctx, Outside, LoadSpec{Rate: 1, For: time.Minute, URL: "http://web/"})
		}, (*Load).Stop, `{"event":"started"}`, []string{`probe ["load" "-rate" "1" "-duration" "1m0s" "http://web/"] beside ""`, "stop probe"}},
		{"flight", func(ctx context.Context, s *Stack) (*Load, error) {
			return s.Flight(ctx, Outside, 20, "-insecure", "https://web/")
		}, (*Load).Result, `{"event":"in-flight","count":20}`, []string{`probe ["flight" "-n" "20" "-insecure" "https://web/"] beside ""`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.probe = says(c.line, `{"event":"something new"}`, result)
			got := judge(t, t.Context(), f, func(ctx context.Context, s *Stack) (Result, error) {
				load, err := c.run(ctx, s)
				if err != nil {
					return Result{}, err
				}
				a, err := c.end(load, ctx)
				if diff := cmp.Diff(want, a); diff != "" {
					t.Errorf("answer:\n%s", diff)
				}
				return Decide(true, "").Of(1), err
			})
			if got.Verdict != Pass {
				t.Errorf("%s: %s", got.Verdict, got.Detail)
			}
			if diff := cmp.Diff(append(c.done, "close probe"), f.done()); diff != "" {
				t.Errorf("done:\n%s", diff)
			}
		})
	}
}

// TestProbeTrouble: whatever a probe says that is no answer is an error, never an answer without one.
func TestProbeTrouble(t *testing.T) {
	ended := func(code int, stderr string, lines ...string) func(ProbeSpec) (*fakeProbe, error) {
		return func(ProbeSpec) (*fakeProbe, error) {
			return &fakeProbe{lines: lines, exit: Output{ExitCode: code, Stderr: stderr}}, nil
		}
	}
	broken := func(ProbeSpec) (*fakeProbe, error) { return &fakeProbe{fails: errTest}, nil }
	http := func(ctx context.Context, s *Stack) error { return second(s.HTTP(ctx, Outside, "http://web/")) }
	each := func(ctx context.Context, s *Stack) error {
		return second(s.HTTPEach(ctx, Outside, nil, "http://a/", "http://b/"))
	}
	tcp := func(ctx context.Context, s *Stack) error { return second(s.TCP(ctx, Outside, "web:80")) }
	tls := func(ctx context.Context, s *Stack) error { return second(s.TLS(ctx, Outside, "web:80")) }
	load := func(ctx context.Context, s *Stack) error {
		l, err := s.Load(ctx, Outside, LoadSpec{Rate: 1, For: time.Second, URL: "http://web/"})
		if err != nil {
			return err
		}
		return second(l.Result(ctx))
	}
	stop := func(ctx context.Context, s *Stack) error {
		return second((&Load{process: &fakeProbe{fake: newFake(), fails: errTest}, verb: "load"}).Stop(ctx))
	}
	started := `{"event":"started"}`
	for _, c := range []struct {
		name  string
		ask   func(context.Context, *Stack) error
		probe func(ProbeSpec) (*fakeProbe, error)
		want  string
	}{
		{"does not start", http, func(ProbeSpec) (*fakeProbe, error) { return nil, errTest }, "probe http: the test's error"},
		{"load does not start", load, func(ProbeSpec) (*fakeProbe, error) { return nil, errTest }, "probe load: the test's error"},
		{"each does not start", each, func(ProbeSpec) (*fakeProbe, error) { return nil, errTest }, "probe http: the test's error"},
		{"cannot be read", tcp, broken, "probe tcp: the test's error"},
		{"wrong usage", tls, ended(2, "probe tls: needs one HOST:PORT\n"), "probe tls: exit code 2 without an answer: probe tls: needs one HOST:PORT"},
		{"says nothing", http, ended(0, ""), "exit code 0 without an answer"},
		{"garbage", http, says("panic: oh"), `probe http: said "panic: oh"`},
		{"half a line", http, says(`{"error":"","stat`), "unexpected end of JSON"},
		{"an empty line", tcp, says(""), "unexpected end of JSON"},
		{"empty object", http, says("{}"), `probe http: said "{}": not an answer`},
		{"null", tcp, says("null"), "not an answer"},
		{"a number", tls, says("42"), "cannot unmarshal number"},
		{"another type", http, says(`{"error":"","status":"200"}`), "cannot unmarshal string"},
		{"one of two", each, says(`{"error":""}`), "exit code 0 without an answer"},
		{"two, one garbage", each, says(`{"error":""}`, `{}`), "not an answer"},
		{"load says nothing", load, ended(1, "oh"), "probe load: exit code 1 without an answer: oh"},
		{"load never starts", load, says(result), `not that it has started`},
		{"load says garbage", load, says("what"), `probe load: said "what", not that it has started`},
		{"flight event for a load", load, says(`{"event":"in-flight","count":1}`), "not that it has started"},
		{"load without a result", load, ended(137, "killed", started), "exit code 137 without an answer: killed"},
		{"load ends in garbage", load, says(started, "what"), `probe load: said "what"`},
		{"load with an empty result", load, says(started, `{"event":"result"}`), "not an answer"},
		{"load cannot be stopped", stop, nil, "probe load: the test's error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.probe = c.probe
			s := NewStack(f, 1).forClaim("it")
			err := c.ask(t.Context(), s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err := s.close(t.Context()); err != nil {
				t.Error(err)
			}
			if log := f.done(); len(log) == 2 && log[1] != "close probe" {
				t.Errorf("the probe is not removed: %q", log)
			}
		})
	}
	if err := complain(t.Context(), &fakeProbe{fails: errTest}, "tcp", errors.New("other")); !strings.Contains(err.Error(), "probe tcp: other") {
		t.Errorf("error %v", err)
	}
}

// TestProbeContract holds this side of the probe's JSON and the probe's README together; the probe's own test holds
// the README to the program. So each knows the other as a container on a network, and neither imports the other.
func TestProbeContract(t *testing.T) {
	readme, err := os.ReadFile("../../containers/probe/README.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := regexp.MustCompile(`(?m)^\| field \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)`).FindAllStringSubmatch(string(readme), -1)
	answers := []any{HTTPAnswer{}, TCPAnswer{}, TLSAnswer{}, Certificate{}, SocketsAnswer{}, LoadAnswer{}, Latency{}, Bucket{}, ClosedAnswer{}}
	if len(tables) != len(answers) {
		t.Fatalf("%d tables of fields for %d answers", len(tables), len(answers))
	}
	for i, answer := range answers {
		var documented, known []string
		for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` ").FindAllStringSubmatch(tables[i][1], -1) {
			if row[1] != "event" { // which says what the line is, and is not of the answer
				documented = append(documented, row[1])
			}
		}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(answer)) {
			known = append(known, f.Tag.Get("json"))
		}
		if diff := cmp.Diff(documented, known); diff != "" {
			t.Errorf("%T: README (-) and struct (+) differ:\n%s", answer, diff)
		}
	}
	for _, kind := range []ErrorKind{Refused, Unreachable, TimedOut, TLSError, Closed, OtherError} {
		if !strings.Contains(string(readme), "\n| `"+string(kind)+"` |") {
			t.Errorf("the README does not list the error kind %q", kind)
		}
	}
}
