package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

const patience = 30 * time.Second

func open(t *testing.T, dir string, set func(*Store)) *Store {
	t.Helper()
	s := &Store{
		Dir: dir, Segment: 1 << 20, Space: 4 << 20, Streams: 100,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: newMetrics(prometheus.NewRegistry()),
	}
	if set != nil {
		set(s)
	}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func rec(stream string, from, to int64) Record {
	line := fmt.Sprintf("%s %d", stream, from)
	return Record{Stream: stream, Offset: from, End: to, Source: "/logs/" + stream[:1], Line: &line}
}

func lines(t *testing.T, s *Store, source string, after int64, most int) (list []string) {
	t.Helper()
	var out bytes.Buffer
	if err := s.Read(&out, source, after, most); err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(&out); ; {
		var r Record
		if err := dec.Decode(&r); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, *r.Line)
	}
}

// What comes again is dropped: in the same batch, in a later one, overlapping, and after a restart.
func TestRepeats(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	for i, tt := range []struct {
		batch          []Record
		added, repeats int
	}{
		{[]Record{rec("a", 0, 10), rec("a", 10, 20), rec("b", 0, 5)}, 3, 0},
		{[]Record{rec("a", 0, 10), rec("a", 10, 20), rec("b", 0, 5)}, 0, 3},
		{[]Record{rec("a", 10, 20), rec("a", 20, 30)}, 1, 1},
		{[]Record{rec("c", 0, 5), rec("c", 0, 5)}, 1, 1},
		{[]Record{rec("a", 40, 50)}, 1, 0}, // a gap: what was dropped by who sent it
		{nil, 0, 0},
	} {
		if i == 3 {
			s.Close()
			s = open(t, dir, nil)
		}
		added, repeats, err := s.Add(tt.batch)
		if err != nil || added != tt.added || repeats != tt.repeats {
			t.Errorf("batch %d: %d added, %d repeats, %v", i, added, repeats, err)
		}
	}
	want := []string{"a 0", "a 10", "b 0", "a 20", "c 0", "a 40"}
	for range 2 {
		if diff := cmp.Diff(want, lines(t, s, "", 0, 100)); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
		sources, streams, last := s.Counts()
		if st := streams["a"]; st.Records != 4 || st.End != 50 || st.Gaps != 1 || st.Missing != 10 || last != 6 || sources["/logs/a"].Missing != 10 {
			t.Errorf("%+v %+v %d", st, sources, last)
		}
		s.Close()
		s = open(t, dir, nil)
	}
	if diff := cmp.Diff([]string{"a 20", "a 40"}, lines(t, s, "/logs/a", 2, 100)); diff != "" {
		t.Errorf("of one source (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a 10", "b 0"}, lines(t, s, "", 1, 2)); diff != "" {
		t.Errorf("a page (-want +got):\n%s", diff)
	}
}

// Power goes at any byte of a batch: what is whole of it stays, the rest is cut off, and the batch may come again.
func TestTornEnd(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	s.Add([]Record{rec("a", 0, 10)})
	kept, _ := os.ReadFile(s.path(1))
	s.Add([]Record{rec("a", 10, 20), rec("a", 20, 30)})
	whole, _ := os.ReadFile(s.path(1))
	s.Close()
	for n := len(kept); n <= len(whole); n++ {
		if err := os.WriteFile(s.path(1), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir, nil)
		if _, _, err := again.Add([]Record{rec("a", 10, 20), rec("a", 20, 30), rec("a", 30, 40)}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a 0", "a 10", "a 20", "a 30"}, lines(t, again, "", 0, 10)); diff != "" {
			t.Fatalf("cut at %d (-want +got):\n%s", n, diff)
		}
		again.Close()
	}
}

// Space is bounded; the oldest segment goes, and what it said of its streams stays: their records are still repeats.
func TestSpace(t *testing.T) {
	dir := t.TempDir()
	set := func(s *Store) { s.Segment, s.Space = 4096, 16384 }
	s := open(t, dir, set)
	for i := range int64(500) {
		if _, _, err := s.Add([]Record{rec("a", i*10, i*10+10), rec(fmt.Sprintf("b%d", i%7), i*10, i*10+10)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		files, _ := filepath.Glob(filepath.Join(dir, "records-*"))
		size := int64(0)
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		if size > 16384 || len(files) < 3 {
			t.Errorf("%d bytes in %d files", size, len(files))
		}
		if added, repeats, err := s.Add([]Record{rec("a", 0, 10), rec("b3", 30, 40)}); added != 0 || repeats != 2 || err != nil {
			t.Errorf("a record of a segment that is gone: %d added, %d repeats, %v", added, repeats, err)
		}
		if sources, _, _ := s.Counts(); sources["/logs/a"].Records != 500 {
			t.Errorf("%d records of /logs/a", sources["/logs/a"].Records)
		}
		s.Close()
		s = open(t, dir, set)
	}
}

func TestStreamsBounded(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	for i := range 1000 {
		s.Add([]Record{rec(fmt.Sprintf("s%d", i), 0, 5)})
	}
	if _, streams, _ := s.Counts(); len(streams) != 100 || streams["s999"].End != 5 {
		t.Errorf("%d streams", len(streams))
	}
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, func(s *Store) { s.Segment, s.Space = 4096, 1<<20 })
	for i := range int64(200) {
		s.Add([]Record{rec("a", i*10, i*10+10)})
	}
	s.Close()
	text, _ := os.ReadFile(s.path(1))
	text[100] = '\n'
	os.WriteFile(s.path(1), text, 0o600)
	if err := (&Store{Dir: dir, Log: s.Log, Metrics: s.Metrics, Streams: 10}).Open(); err == nil || !strings.Contains(err.Error(), "damaged at byte") {
		t.Errorf("a damaged segment in the middle: %v", err)
	}
}

// serve is the whole server on a real listener.
func serve(t *testing.T) (url string, s *Server) {
	t.Helper()
	g, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = &Server{
		Store: open(t, t.TempDir(), nil), Faults: newFaults(g), MaxBody: 64 << 10, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Metrics: newMetrics(prometheus.NewRegistry()),
	}
	hs := s.HTTP()
	go hs.Serve(g)
	t.Cleanup(func() { hs.Close() })
	return "http://" + g.Addr().String(), s
}

func post(t *testing.T, url, body string, headers ...string) (int, http.Header, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/logs", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header, nil
}

const good = `{"stream":"a","offset":0,"end":5,"source":"/a","line":"text"}` + "\n"

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

// Hostile and odd batches: none is taken in part, none costs more than its bound.
func TestBatches(t *testing.T) {
	url, s := serve(t)
	for name, tt := range map[string]struct {
		body    string
		headers []string
		status  int
	}{
		"nothing":             {"", nil, 200},
		"blank lines":         {"\n\n" + good + "\n", nil, 200},
		"packed":              {zipped(good), []string{"Content-Encoding", "gzip"}, 200},
		"no JSON":             {good + "hello\n", nil, 400},
		"not packed":          {good, []string{"Content-Encoding", "gzip"}, 400},
		"cut while packed":    {zipped(strings.Repeat(good, 99))[:60], []string{"Content-Encoding", "gzip"}, 400},
		"no stream":           {`{"offset":0,"end":5,"source":"/a","line":""}`, nil, 400},
		"a long stream":       {`{"stream":"` + strings.Repeat("x", 65) + `","offset":0,"end":5,"source":"/a","line":""}`, nil, 400},
		"no source":           {`{"stream":"a","offset":0,"end":5,"line":""}`, nil, 400},
		"backwards":           {`{"stream":"a","offset":5,"end":5,"source":"/a","line":""}`, nil, 400},
		"a negative offset":   {`{"stream":"a","offset":-5,"end":5,"source":"/a","line":""}`, nil, 400},
		"no line":             {`{"stream":"a","offset":0,"end":5,"source":"/a"}`, nil, 400},
		"two lines":           {`{"stream":"a","offset":0,"end":5,"source":"/a","line":"","line_base64":"YQ=="}`, nil, 400},
		"not base64":          {`{"stream":"a","offset":0,"end":5,"source":"/a","line_base64":"%"}`, nil, 400},
		"an ID of its own":    {`{"stream":"a","offset":0,"end":5,"source":"/a","line":"","id":7}`, nil, 400},
		"too large":           {strings.Repeat(good, 2000), nil, 413},
		"too large when open": {zipped(strings.Repeat(good, 100_000)), []string{"Content-Encoding", "gzip"}, 413},
	} {
		before, _, last := s.Store.Counts()
		status, _, err := post(t, url, tt.body, tt.headers...)
		if err != nil || status != tt.status {
			t.Errorf("%s: %d, %v", name, status, err)
		}
		if _, _, now := s.Store.Counts(); tt.status != 200 && now != last {
			t.Errorf("%s: %d records were taken (%v)", name, now-last, before)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add(`{"stream":"a","offset":1e3,"end":5.5,"source":"\u0000","line":null}`)
	f.Add("{}\n[]\nnull\n\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		records, err := parse(strings.NewReader(text), 1<<16)
		if err != nil {
			return
		}
		for _, r := range records {
			if err := r.check(); err != nil {
				t.Errorf("%+v was taken: %v", r, err)
			}
		}
	})
}

func TestFaults(t *testing.T) {
	url, s := serve(t)
	if status, _, err := post(t, url, good); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	set := func(mode string) {
		t.Helper()
		if err := s.Faults.Set(Fault{Mode: mode, RetryAfter: 7}); err != nil {
			t.Fatal(err)
		}
	}
	set("error")
	if status, _, _ := post(t, url, good); status != 500 {
		t.Errorf("error: %d", status)
	}
	set("busy")
	if status, head, _ := post(t, url, good); status != 429 || head.Get("Retry-After") != "7" {
		t.Errorf("busy: %d %v", status, head)
	}
	set("cut")
	next := strings.Replace(good, `"offset":0,"end":5`, `"offset":5,"end":9`, 1)
	if status, _, err := post(t, url, next); err == nil {
		t.Errorf("cut: %d", status)
	}
	if _, _, last := s.Store.Counts(); last != 2 {
		t.Errorf("cut: the store has %d records", last)
	}
	set("none")
	kept := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	ask := func() (status int, err error) {
		res, err := kept.Post(url+"/logs", "application/x-ndjson", strings.NewReader(good))
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		return res.StatusCode, err
	}
	if status, err := ask(); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	set("refuse")
	if status, err := ask(); err == nil {
		t.Errorf("refuse: an open connection is served: %d", status)
	}
	if _, _, err := post(t, url, good); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("refuse: %v", err)
	}
	set("hang")
	hung := make(chan error, 1)
	go func() { _, _, err := post(t, url, good); hung <- err }()
	for end := time.Now().Add(patience); ; {
		if _, struck := s.Faults.Status(); struck["hang"] > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing hangs")
		}
	}
	set("none")
	if err := <-hung; err == nil {
		t.Error("hang: answered")
	}
	if status, _, err := post(t, url, good); status != 200 || err != nil {
		t.Errorf("after all of them: %d, %v", status, err)
	}
}

func TestFaultCount(t *testing.T) {
	url, s := serve(t)
	s.Faults.Set(Fault{Mode: "error", Count: 2})
	var got []int
	for range 3 {
		status, _, _ := post(t, url, good)
		got = append(got, status)
	}
	if diff := cmp.Diff([]int{500, 500, 200}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}
