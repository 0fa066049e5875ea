package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRFC9111 is a table of what may be used again and what not: an answer, asked for twice with time between.
func TestRFC9111(t *testing.T) {
	for _, c := range []struct {
		why    string
		status int
		says   string // headers, | between them
		ask    string // headers of both requests
		after  time.Duration
		hit    bool
	}{
		{"4.2.1: max-age", 200, "Cache-Control: max-age=60", "", 50 * time.Second, true},
		{"4.2.1: max-age is over", 200, "Cache-Control: max-age=60", "", 61 * time.Second, false},
		{"5.2: names have no case", 200, "Cache-Control: MAX-AGE=60", "", 0, true},
		{"5.2: an argument may be quoted", 200, `Cache-Control: max-age="60"`, "", 0, true},
		{"4.2.1: s-maxage before max-age", 200, "Cache-Control: max-age=0, s-maxage=60", "", 0, true},
		{"4.2.1: s-maxage of nothing", 200, "Cache-Control: max-age=60, s-maxage=0", "", 0, false},
		{"4.2.1: max-age before Expires", 200, "Cache-Control: max-age=60|Expires: {now-60}", "", 0, true},
		{"4.2.1: Expires less Date", 200, "Expires: {now+60}", "", 50 * time.Second, true},
		{"4.2.1: Expires is over", 200, "Expires: {now+60}", "", 61 * time.Second, false},
		{"5.3: 0 is long past; Varnish stores it", 200, "Expires: 0|Last-Modified: {now-100000}", "", 0, false},
		{"5.3: so is -1", 200, "Expires: -1|Last-Modified: {now-100000}", "", 0, false},
		{"5.3: and 1970", 200, "Expires: Thu, 01 Jan 1970 00:00:00 GMT|Last-Modified: {now-100000}", "", 0, false},
		{"4.2.1: two values are stale", 200, "Cache-Control: max-age=60|Cache-Control: max-age=0", "", 0, false},
		{"4.2.1: what is no number is stale", 200, "Cache-Control: max-age=abc", "", 0, false},
		{"4.2.1: nor is -1 one", 200, "Cache-Control: max-age=-1", "", 0, false},
		{"1.2.2: a very large number is one", 200, "Cache-Control: max-age=99999999999999999999", "", time.Hour, true},
		{"4.2.3: an Age from before counts", 200, "Cache-Control: max-age=60|Age: 50", "", 5 * time.Second, true},
		{"4.2.3: until it is over", 200, "Cache-Control: max-age=60|Age: 61", "", 0, false},
		{"4.2.3: a Date from before counts", 200, "Cache-Control: max-age=60|Date: {now-61}", "", 0, false},
		{"4.2.2: a tenth of its age", 200, "Last-Modified: {now-1000}", "", 90 * time.Second, true},
		{"4.2.2: no more", 200, "Last-Modified: {now-1000}", "", 110 * time.Second, false},
		{"3: no word of freshness", 200, "", "", 0, false},
		{"5.2.2.5: no-store", 200, "Cache-Control: no-store, max-age=60", "", 0, false},
		{"5.2.2.7: private", 200, "Cache-Control: private, max-age=60", "", 0, false},
		{"5.2.2.7: private=\"x\" is private as a whole", 200, `Cache-Control: private="x", max-age=60`, "", 0, false},
		{"a directive in a quotation is none", 200, `Cache-Control: x="no-store, private", max-age=60`, "", 0, true},
		{"5.2.2.4: no-cache asks", 200, `Cache-Control: no-cache, max-age=60`, "", 0, false},
		{"5.4: Pragma in an answer means nothing", 200, "Pragma: no-cache|Cache-Control: max-age=60", "", 0, true},
		{"3.5: a password", 200, "Cache-Control: max-age=60", "Authorization: Basic eA==", 0, false},
		{"3.5: a password, public", 200, "Cache-Control: public, max-age=60", "Authorization: Basic eA==", 0, true},
		{"3.5: a password, s-maxage", 200, "Cache-Control: s-maxage=60", "Authorization: Basic eA==", 0, true},
		{"3.5: a password, must-revalidate", 200, "Cache-Control: max-age=60, must-revalidate", "Authorization: Basic eA==", 0, true},
		{"a cookie, as a password", 200, "Cache-Control: max-age=60", "Cookie: a=b", 0, false},
		{"a cookie, public", 200, "Cache-Control: public, max-age=60", "Cookie: a=b", 0, true},
		{"7.3: an answer that sets a cookie", 200, "Cache-Control: public, max-age=60|Set-Cookie: a=b", "", 0, false},
		{"4.1: Vary: *", 200, "Cache-Control: max-age=60|Vary: *", "", 0, false},
		{"4.1: Vary with the same", 200, "Cache-Control: max-age=60|Vary: X-A", "X-A: 1", 0, true},
		{"5.2.1.5: a request that is not to be stored", 200, "Cache-Control: max-age=60", "Cache-Control: no-store", 0, false},
		{"a client's no-cache is not heeded, or anyone could load the origin", 200, "Cache-Control: max-age=60", "Cache-Control: no-cache", 0, true},
		{"9213: CDN-Cache-Control before Cache-Control", 200, "CDN-Cache-Control: max-age=60|Cache-Control: no-store", "", 50 * time.Second, true},
		{"9213: and its no-store", 200, "CDN-Cache-Control: no-store|Cache-Control: max-age=60", "", 0, false},
		{"9213: one that breaks the rules is none", 200, "CDN-Cache-Control: max-age=\"60\"|Cache-Control: no-store", "", 0, false},
		{"3: 404, told for how long", 404, "Cache-Control: max-age=60", "", 0, true},
		{"4.2.2: 404 may be guessed", 404, "Last-Modified: {now-1000}", "", 0, true},
		{"3: 302, told for how long", 302, "Cache-Control: max-age=60|Location: /x", "", 0, true},
		{"4.2.2: 302 may not be guessed", 302, "Last-Modified: {now-1000}|Location: /x", "", 0, false},
		{"400 is an attacker's", 400, "Cache-Control: max-age=60", "", 0, false},
		{"so is 403", 403, "Cache-Control: max-age=60", "", 0, false},
		{"so is 431", 431, "Cache-Control: max-age=60", "", 0, false},
		{"500 is not kept", 500, "Cache-Control: max-age=60", "", 0, false},
		{"206 is a part", 206, "Cache-Control: max-age=60|Content-Range: bytes 0-1/9", "", 0, false},
	} {
		t.Run(c.why, func(t *testing.T) {
			b := start(t, nil, nil)
			b.say(func(w http.ResponseWriter, r *http.Request) {
				for line := range strings.SplitSeq(c.says, "|") {
					if name, value, ok := strings.Cut(line, ": "); ok {
						if value = b.fill(value); name == "Date" {
							w.Header().Set(name, value)
						} else {
							w.Header().Add(name, value)
						}
					}
				}
				w.WriteHeader(c.status)
				fmt.Fprintf(w, "it is %d", b.fetches())
			})
			ask := strings.SplitN(c.ask, ": ", 2)
			first := b.get("/x", ask...)
			b.Pass(c.after)
			second := b.get("/x", ask...)
			if first.Status != c.status || second.Status != c.status {
				t.Fatalf("answered %d, %d", first.Status, second.Status)
			}
			if hit := second.Body == first.Body; hit != c.hit || hit != (b.fetches() == 1) || hit != (second.result() == "hit") {
				t.Errorf("%d fetches, %q then %q: %s", b.fetches(), first.Body, second.Body, second.Header["Cache-Status"])
			}
			if second.result() == "hit" && second.Header.Get("Age") == "" {
				t.Error("no Age")
			}
		})
	}
}

func TestAge(t *testing.T) {
	b := start(t, nil, nil)
	b.say(b.with("x", "Cache-Control: max-age=60", "Age: 7"))
	for _, c := range []struct {
		pass time.Duration
		want string
	}{{0, "7"}, {10 * time.Second, "17"}, {20 * time.Second, "37"}} {
		b.Pass(c.pass)
		if got := b.get("/").Header.Values("Age"); len(got) != 1 || got[0] != c.want {
			t.Errorf("Age %q, want %s", got, c.want)
		}
	}
}

func TestCompact(t *testing.T) {
	h := http.Header{"A": {"1", "", "three"}, "B": {"x"}, "C": {}, "D": {strings.Repeat("y", 100)}}
	if diff := cmp.Diff(h, compact(h)); diff != "" {
		t.Error(diff)
	}
}

// FuzzControl: no directive of the origin's is lost by what stands around it, and nothing panics.
func FuzzControl(f *testing.F) {
	for _, s := range []string{`max-age=60`, `x="a,b\"c", private`, `,,;=`, `"`, `a="`, "private=\"", "max-age==1,max-age=2", "\x00=\x00"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		h := http.Header{"Cache-Control": {a, b}, "Expires": {b}, "Vary": {a}, "Age": {b}, "Cdn-Cache-Control": {b}, "Date": {a}, "Last-Modified": {b}}
		terms := (&Rules{Heuristic: 0.1, HeurMax: time.Hour}).Judge(200, h, Asked{})
		if terms.Why == "" && (terms.Lifetime < 0 || terms.Lifetime > longest*time.Second && len(h["Expires"]) == 0) {
			t.Errorf("%+v", terms)
		}
		h = http.Header{"Cache-Control": {"no-store", a, b}}
		if (&Rules{}).Judge(200, h, Asked{}).Why == "" {
			t.Errorf("stored in spite of no-store: %q", h)
		}
		birth(h, time.Now(), time.Now())
		varied(varyNames(http.Header{"Vary": {a}}), http.Header{"A": {b}})
		plainEncoding([]string{a, b})
	})
}

// FuzzRange: what is cut out of an object lies within it.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=9999999999999999999-", "bytes=--", "bytes=1-0", "bytes=0-0,2-3"} {
		f.Add(s, `"a"`, int64(10))
	}
	f.Fuzz(func(t *testing.T, s, tag string, length int64) {
		if length < 0 {
			return
		}
		asked := http.Header{"Range": {s}, "If-None-Match": {tag}, "If-Range": {tag}}
		span, from, n := ranged(asked, http.Header{"Etag": {tag}}, length)
		if span == spanPart && (from < 0 || n <= 0 || from > length-n) {
			t.Errorf("%q of %d: %d bytes from %d", s, length, n, from)
		}
		unchanged(asked, http.Header{"Etag": {`"b"`}})
	})
}
