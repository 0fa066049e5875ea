package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// newAPI serves a store in a temporary file.
func newAPI(t *testing.T, set func(*API)) (url string, a *API) {
	t.Helper()
	store := &Store{
		Path: filepath.Join(t.TempDir(), "configs.json"), MaxSize: 4096, MaxFiles: 4, MaxConfigs: 3, History: 5, Size: 16 << 10,
	}
	if err := store.Open(); err != nil {
		t.Fatal(err)
	}
	a = &API{
		Store: store, WriteToken: "w", MaxWait: time.Minute, MaxWaiting: 10,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: newMetrics(prometheus.NewRegistry(), store),
	}
	if set != nil {
		set(a)
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = a.Server()
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL, a
}

// do sends a request. head is "Name: value" lines.
func do(t *testing.T, method, url, body string, head ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range head {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

const writer = "Authorization: Bearer w"

// put makes a version and is its tag.
func put(t *testing.T, url, text string) string {
	t.Helper()
	resp, body := do(t, "PUT", url, fmt.Sprintf(`{"files": {"app.conf": %q}}`, text), writer)
	if resp.StatusCode > 201 {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	return resp.Header.Get("ETag")
}

// TestRequests sends requests one after the other: each finds what those before have left.
func TestRequests(t *testing.T) {
	url, _ := newAPI(t, nil)
	long := strings.Repeat("x", 4000)
	tags := map[string]string{}
	for i, tt := range []struct {
		method, path, body string
		head               string // TAG:n is the tag that answer n had
		code               int
		want               string
	}{
		0:  {"GET", "/configs", "", "", 200, "[]\n"},
		1:  {"GET", "/configs/shop", "", "", 404, "no such configuration"},
		2:  {"PUT", "/configs/shop", `{"files":{"a":"1"}}`, "", 401, "write token"},
		3:  {"PUT", "/configs/shop", `{"files":{"a":"1"}}`, "Authorization: Bearer x", 401, "write token"},
		4:  {"PUT", "/configs/shop", `{"files":{"a":"1"}}`, "Authorization: w", 401, "write token"},
		5:  {"PUT", "/configs/shop", `{"files":{"a":"1"}}`, writer + "\nIf-Match: *", 412, "no such configuration"},
		6:  {"PUT", "/configs/shop", `{"files":{"a":"1"}, "message":"first"}`, writer + "\nIf-None-Match: *", 201, `"version": 1`},
		7:  {"PUT", "/configs/shop", `{"files":{"a":"2"}}`, writer + "\nIf-None-Match: *", 412, "has changed"},
		8:  {"PUT", "/configs/shop", `{"files":{"a":"1"}}`, writer, 200, `"version": 1`}, // nothing new
		9:  {"PUT", "/configs/shop", `{"files":{"a":"2","d/b":"x"}}`, writer + "\nIf-Match: TAG:6", 200, `"version": 2`},
		10: {"PUT", "/configs/shop", `{"files":{"a":"3"}}`, writer + "\nIf-Match: TAG:6", 412, `it is \"2-`},
		11: {"PUT", "/configs/shop", `{"files":{"a":"3"}}`, writer + "\nIf-Match: W/TAG:9", 412, `it is \"2-`},
		12: {"GET", "/configs/shop", "", "", 200, `"files":{"a":"2","d/b":"x"}`},
		13: {"GET", "/configs/shop", "", "If-None-Match: TAG:12", 304, ""},
		14: {"GET", "/configs/shop", "", "If-None-Match: TAG:6", 200, `"version":2`},
		15: {"GET", "/configs/shop?version=1", "", "", 200, `"files":{"a":"1"}`},
		16: {"GET", "/configs/shop?version=9", "", "", 404, "version"},
		17: {"GET", "/configs/shop?version=x", "", "", 400, "not a number"},
		18: {"GET", "/configs/shop?wait=x", "", "", 400, "not a time"},
		19: {"GET", "/configs/shop?wait=-1s", "", "", 400, "not a time"},
		20: {"GET", "/configs/shop?wait=1h", "", "", 200, `"version":2`}, // nothing to wait for without a tag
		21: {"GET", "/configs/shop?wait=1ms", "", "If-None-Match: TAG:12", 304, ""},
		22: {"GET", "/configs/shop/files/d/b", "", "", 200, "x"},
		23: {"GET", "/configs/shop/files/d", "", "", 404, "no file"},
		24: {"PUT", "/configs/shop/files/c", "new", writer, 200, `"version": 3`},
		25: {"GET", "/configs/shop/files/c?version=3", "", "", 200, "new"},
		26: {"DELETE", "/configs/shop/files/c", "", writer + "\nIf-Match: TAG:24", 200, `"version": 4`},
		27: {"DELETE", "/configs/shop/files/c", "", writer, 404, ""},
		28: {"POST", "/configs/shop/rollback?to=1", "", writer, 200, `"version": 5`},
		29: {"GET", "/configs/shop", "", "", 200, `"files":{"a":"1"}`},
		30: {"POST", "/configs/shop/rollback?to=77", "", writer, 404, ""},
		31: {"POST", "/configs/shop/rollback", "", writer, 400, "to=VERSION"},
		32: {"POST", "/configs/shop/rollback?to=1", "", "", 401, ""},
		33: {"GET", "/configs/shop/history", "", "", 200, `"message": "back to version 1"`},
		34: {"DELETE", "/configs/shop", "", writer + "\nIf-Match: TAG:9", 412, ""},
		35: {"DELETE", "/configs/shop", "", writer, 200, `"deleted": true`},
		36: {"GET", "/configs/shop", "", "", 404, ""},
		37: {"DELETE", "/configs/shop", "", writer, 404, ""},
		38: {"POST", "/configs/shop/rollback?to=5", "", writer, 200, `"version": 7`},
		39: {"GET", "/configs/shop", "", "", 200, `"files":{"a":"1"}`},
		40: {"GET", "/configs/shop?version=1", "", "", 404, ""}, // five are kept
		41: {"GET", "/configs", "", "", 200, `"name": "shop"`},

		// What is too much, or nothing that could be a file.
		42: {"PUT", "/configs/shop", `{"files":{}}`, writer, 400, "no file"},
		43: {"PUT", "/configs/shop", `{"files":{"a":"1"}} {}`, writer, 400, "more behind"},
		44: {"PUT", "/configs/shop", `{"file":{"a":"1"}}`, writer, 400, "unknown field"},
		45: {"PUT", "/configs/shop", `{"files":{"a":"1"`, writer, 400, "not {"},
		46: {"PUT", "/configs/shop", `<html>`, writer, 400, "not {"},
		47: {"PUT", "/configs/shop", `null`, writer, 400, "no file"},
		48: {"PUT", "/configs/shop", `{"files":{"a":"` + long + `", "b":"` + long + `"}}`, writer, 413, "too much"},
		49: {"PUT", "/configs/shop", `{"files":{"a":"` + strings.Repeat("x", 40000) + `"}}`, writer, 413, "too large"},
		50: {"PUT", "/configs/shop/files/a", strings.Repeat("x", 40000), writer, 413, "too large"},
		51: {"PUT", "/configs/shop", `{"files":{"a":"","b":"","c":"","d":"","e":""}}`, writer, 413, "5 files"},
		52: {"PUT", "/configs/shop", `{"files":{"a":"","a/b":""}}`, writer, 400, "a file and a folder"},
		53: {"PUT", "/configs/shop", `{"files":{"../a":""}}`, writer, 400, "not the name of a file"},
		54: {"PUT", "/configs/shop", `{"files":{"/a":""}}`, writer, 400, "not the name of a file"},
		55: {"PUT", "/configs/shop", `{"files":{"":""}}`, writer, 400, "not the name of a file"},
		56: {"PUT", "/configs/shop", `{"files":{".":""}}`, writer, 400, "not the name of a file"},
		57: {"PUT", "/configs/shop", `{"files":{"..data":""}}`, writer, 400, "not the name of a file"},
		58: {"PUT", "/configs/shop", `{"files":{"a//b":""}}`, writer, 400, "not the name of a file"},
		59: {"PUT", "/configs/shop", `{"files":{"a\u0000":""}}`, writer, 400, "not the name of a file"},
		60: {"PUT", "/configs/shop", `{"files":{"a\\b":""}}`, writer, 400, "not the name of a file"},
		61: {"PUT", "/configs/shop", `{"files":{"` + strings.Repeat("n", 201) + `":""}}`, writer, 400, "not the name of a file"},
		62: {"PUT", "/configs/shop/files/%2e%2e/a", "x", writer, 400, "not the name of a file"},
		63: {"PUT", "/configs/shop/files/a", "\xff", writer, 400, "not UTF-8"},
		64: {"PUT", "/configs/Shop", `{"files":{"a":"1"}}`, writer, 400, "name of a configuration"},
		65: {"PUT", "/configs/.x", `{"files":{"a":"1"}}`, writer, 400, "name of a configuration"},
		66: {"PUT", "/configs/b", `{"files":{"a":"1"}}`, writer, 201, ""},
		67: {"PUT", "/configs/c", `{"files":{"a":"1"}}`, writer, 201, ""},
		68: {"PUT", "/configs/d", `{"files":{"a":"1"}}`, writer, 413, "3 configurations"},
		69: {"DELETE", "/configs/b", "", writer, 200, ""},
		70: {"PUT", "/configs/d", `{"files":{"a":"1"}}`, writer, 201, ""}, // in the place of the one that is deleted
		71: {"PATCH", "/configs/d", "", writer, 405, ""},
		72: {"GET", "/", "", "", 404, ""},
		73: {"HEAD", "/configs/d", "", "", 200, ""},
	} {
		head := tt.head
		for name, tag := range tags {
			if strings.HasSuffix(head, name) {
				head = strings.TrimSuffix(head, name) + tag
			}
		}
		var lines []string
		if head != "" {
			lines = strings.Split(head, "\n")
		}
		resp, body := do(t, tt.method, url+tt.path, tt.body, lines...)
		tags[fmt.Sprintf("TAG:%d", i)] = resp.Header.Get("ETag")
		if resp.StatusCode != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("%d: %s %s [%s]: %s %s, want %d %s", i, tt.method, tt.path, tt.head, resp.Status, body, tt.code, tt.want)
		}
		if resp.StatusCode >= 400 && resp.StatusCode != 404 && resp.StatusCode != 405 {
			var e struct{ Error string }
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error == "" {
				t.Errorf("%d: no reason: %s", i, body)
			}
		}
	}
}

// TestWait: who waits gets the next version, at once, and many at a time.
func TestWait(t *testing.T) {
	url, a := newAPI(t, nil)
	tag := put(t, url+"/configs/shop", "one")
	var wg sync.WaitGroup
	answers := make([]string, 5)
	for i := range answers {
		wg.Go(func() {
			resp, body := do(t, "GET", url+"/configs/shop?wait=1m", "", "If-None-Match: "+tag)
			answers[i] = fmt.Sprintf("%d %t", resp.StatusCode, strings.Contains(body, `"two"`))
		})
	}
	waitFor(t, func() bool { return a.waiting.Load() == 5 })
	put(t, url+"/configs/other", "something") // none of theirs
	if n := a.waiting.Load(); n != 5 {
		t.Errorf("%d wait after a change of another one", n)
	}
	put(t, url+"/configs/shop", "two")
	wg.Wait()
	if diff := cmp.Diff([]string{"200 true", "200 true", "200 true", "200 true", "200 true"}, answers); diff != "" {
		t.Error(diff)
	}
	// A configuration that is deleted while somebody waits is gone for them, too.
	resp, _ := do(t, "GET", url+"/configs/shop", "")
	gone := make(chan int)
	go func() {
		resp, _ := do(t, "GET", url+"/configs/shop?wait=60", "", "If-None-Match: "+resp.Header.Get("ETag"))
		gone <- resp.StatusCode
	}()
	waitFor(t, func() bool { return a.waiting.Load() == 1 })
	do(t, "DELETE", url+"/configs/shop", "", writer)
	if code := <-gone; code != 404 {
		t.Errorf("deleted while somebody waited: %d", code)
	}
}

// TestWaiting: so many may wait, the next one is told when to come again; a client that leaves makes room.
func TestWaiting(t *testing.T) {
	url, a := newAPI(t, func(a *API) { a.MaxWaiting = 1 })
	tag := put(t, url+"/configs/shop", "one")
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", url+"/configs/shop?wait=1m", nil)
		req.Header.Set("If-None-Match", tag)
		_, err := http.DefaultClient.Do(req)
		left <- err
	}()
	waitFor(t, func() bool { return a.waiting.Load() == 1 })
	resp, _ := do(t, "GET", url+"/configs/shop?wait=1m", "", "If-None-Match: "+tag)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the second: %s", resp.Status)
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	waitFor(t, func() bool { return a.waiting.Load() == 0 })
}

// TestShutdown: who waits is answered when the server stops, so that the drain is short.
func TestShutdown(t *testing.T) {
	url, a := newAPI(t, nil)
	srv := a.Server()
	hs := httptest.NewUnstartedServer(nil)
	hs.Config = srv
	hs.Start()
	defer hs.Close()
	tag := put(t, url+"/configs/shop", "one")
	code := make(chan int)
	go func() {
		resp, _ := do(t, "GET", hs.URL+"/configs/shop?wait=1m", "", "If-None-Match: "+tag)
		code <- resp.StatusCode
	}()
	waitFor(t, func() bool { return a.waiting.Load() == 1 })
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-code; got != 304 {
		t.Errorf("%d", got)
	}
}

// TestReadToken: reading may need a token too.
func TestReadToken(t *testing.T) {
	url, _ := newAPI(t, func(a *API) { a.ReadToken = "r" })
	put(t, url+"/configs/shop", "one")
	for head, code := range map[string]int{"X: y": 401, "Authorization: Bearer r": 200, writer: 200, "Authorization: Bearer ": 401} {
		if resp, _ := do(t, "GET", url+"/configs/shop", "", head); resp.StatusCode != code {
			t.Errorf("%s: %s", head, resp.Status)
		}
	}
	if resp, _ := do(t, "PUT", url+"/configs/shop", `{"files":{"a":"b"}}`, "Authorization: Bearer r"); resp.StatusCode != 401 {
		t.Errorf("a change with the read token: %s", resp.Status)
	}
}

// TestRace: of many changes that were made to the same version one is made.
func TestRace(t *testing.T) {
	url, _ := newAPI(t, nil)
	tag := put(t, url+"/configs/shop", "one")
	var wg sync.WaitGroup
	codes := make([]int, 20)
	for i := range codes {
		wg.Go(func() {
			resp, _ := do(t, "PUT", url+"/configs/shop", fmt.Sprintf(`{"files":{"a":"%d"}}`, i), writer, "If-Match: "+tag)
			codes[i] = resp.StatusCode
		})
	}
	wg.Wait()
	count := map[int]int{}
	for _, c := range codes {
		count[c]++
	}
	if diff := cmp.Diff(map[int]int{200: 1, 412: 19}, count); diff != "" {
		t.Error(diff)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never")
		}
	}
}

// FuzzChange: no body and no path ends the server, and what was taken can be read back as it was.
func FuzzChange(f *testing.F) {
	f.Add("/configs/shop", `{"files":{"a":"b"}}`)
	f.Add("/configs/shop/files/a/b", "text")
	f.Add("/configs/shop/files/%2e%2e/x", "text")
	f.Add("/configs/s", `{"files":{"a/b":"","a":""}}`)
	f.Add("/configs/s", `{"files":{"\ud800":"\udfff"}}`)
	store := &Store{MaxSize: 4096, MaxFiles: 4, MaxConfigs: 3, History: 3, Size: 16 << 10}
	if err := store.Open(); err != nil {
		f.Fatal(err)
	}
	a := &API{
		Store: store, WriteToken: "w", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Metrics: newMetrics(prometheus.NewRegistry(), store),
	}
	h := a.Server().Handler
	f.Fuzz(func(t *testing.T, path, body string) {
		req, err := http.NewRequest("PUT", "http://x/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if u, err := req.URL.Parse(path); err == nil && strings.HasPrefix(u.Path, "/") {
			req.URL = u
		}
		req.Header.Set("Authorization", "Bearer w")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code/100 == 2 {
			get := httptest.NewRecorder()
			h.ServeHTTP(get, httptest.NewRequest("GET", req.URL.String(), nil))
			if get.Code != 200 || get.Header().Get("ETag") != rec.Header().Get("ETag") {
				t.Errorf("%s: %d %s, then %d %s", path, rec.Code, rec.Header(), get.Code, get.Header())
			}
			if strings.Contains(req.URL.Path, "/files/") && get.Body.String() != body {
				t.Errorf("%s: %q came back as %q", path, body, get.Body.String())
			}
		}
	})
}
