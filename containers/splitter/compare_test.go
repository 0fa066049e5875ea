package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDifferences(t *testing.T) {
	js := func(body string) page { return page{200, "application/json", []byte(body)} }
	tests := []struct {
		name string
		a, b page
		want string
	}{
		{"same", js(`{"a":1}`), js(`{"a":1}`), ""},
		{"order and white space", js(`{"a":1,"b":2}`), js(`{"b": 2, "a": 1}`), ""},
		{"value", js(`{"a":1,"b":{"c":2}}`), js(`{"a":1,"b":{"c":3}}`), "body.b.c"},
		{"absent", js(`{"a":1}`), js(`{"b":1}`), "body.a body.b"},
		{"list", js(`{"l":[{"p":1},{"p":2}]}`), js(`{"l":[{"p":1},{"p":3}]}`), "body.l.p"},
		{"length", js(`[1,2]`), js(`[1]`), "body"},
		{"kind", js(`{"a":{}}`), js(`{"a":[]}`), "body.a"},
		{"object for a number", js(`{"a":1}`), js(`{"a":{"b":1}}`), "body.a"},
		{"number for an object", js(`{"a":{"b":1}}`), js(`{"a":null}`), "body.a"},
		{"large numbers", js(`9007199254740993`), js(`9007199254740992`), "body"},
		{"not JSON", js(`{`), js(`{"a":1}`), "body"},
		{"more than JSON", js(`{} {}`), js(`{}`), "body"},
		{"text", page{200, "text/plain", []byte("a")}, page{404, "text/html", []byte("b")}, "body status type"},
	}
	for _, tt := range tests {
		got := strings.Join(slices.Sorted(maps.Keys(differences(tt.a, tt.b))), " ")
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzDifferences(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":2}]}`), []byte(`{"a":[1,{"b":3}],"c":null}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		x, y := page{200, "application/json", a}, page{200, "application/json", b}
		forth, back := differences(x, y), differences(y, x)
		if diff := cmp.Diff(forth, back); diff != "" {
			t.Errorf("not the same both ways: %s", diff)
		}
		if len(differences(x, x)) != 0 {
			t.Error("differs from itself")
		}
	})
}

// The candidate's price is wrong; the identifier is another one each time, and
// that is noise.
func TestCompare(t *testing.T) {
	var n atomic.Int64
	shop := func(price int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			text := fmt.Sprintf(`{"id": %d, "price": %d, "at": %d, "path": %q}`, n.Add(1), price, n.Load(), r.URL.Path)
			if r.Header.Get("Accept-Encoding") == "gzip" {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				defer z.Close()
				z.Write([]byte(text))
				return
			}
			fmt.Fprint(w, text)
		}
	}
	production, copied := startArm(t, "production", shop(5)), startArm(t, "noise", shop(5))
	other, candidate := startArm(t, "other", shop(7)), startArm(t, "candidate", shop(6))
	s := start(t, []ArmSpec{production.spec("weight=1"), other.spec("weight=1")}, func(p *Proxy) {
		withMirror(candidate.addr, func(m *Mirror) {
			m.Concurrency = 100
			m.Compare = &Compare{
				Arm: "production", Noise: copied.addr, BodyLimit: 1 << 10, Ignore: map[string]bool{"body.at": true},
				Transport: p.Limits.NewTransport(false), Metrics: p.Metrics,
			}
		})(p)
	})
	c := client(t)
	for i := range 20 {
		r := s.do(t, c, "GET", fmt.Sprint("/", i), "", "Accept-Encoding", []string{"gzip", "identity"}[i/2%2])
		if r.code != 200 {
			t.Fatalf("answered %+v", r)
		}
	}
	compare := s.Mirror.Compare
	eventually(t, "ten are compared", func() bool { return compare.Differences().Comparisons == 10 })
	want := Differences{Comparisons: 10, Fields: []Different{
		{Field: "body.price", Real: true, Raw: 10, Relative: 100, Absolute: 100},
		{Field: "body.id", Raw: 10, Noise: 10},
	}}
	if diff := cmp.Diff(want, compare.Differences()); diff != "" {
		t.Error(diff)
	}
	eventually(t, "the others are not", func() bool { return s.metric(t, "comparisons_total", "result=incomparable") == 10 })
	if got := s.metric(t, "comparisons_total", "result=different"); got != 10 {
		t.Errorf("different: %v", got)
	}
	mux := http.NewServeMux()
	(&Admin{Splitter: s.Splitter, Compare: compare}).Register(mux.Handle)
	_, text := ask(t, "GET", startArm(t, "admin", mux.ServeHTTP).srv.URL+"/differences", "", "")
	var got Differences
	check(t, json.Unmarshal([]byte(text), &got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Fields whose names never come twice do not fill the memory.
func TestCompareBound(t *testing.T) {
	c := &Compare{}
	for n := range 5000 {
		c.add(map[string]bool{fmt.Sprint("body.", n): true}, nil)
	}
	if got := len(c.Differences().Fields); got != maxFields+1 {
		t.Errorf("%d fields", got)
	}
}
