package main

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Rules are what a cache may store, for whom, and for how long. The zero value is RFC 9111's shared cache without
// heuristics, more careful in three things: an answer that sets a cookie is not stored; what was asked for with a
// cookie is treated as what was asked for with a password; and errors are not stored, but for 404 and 410, whatever the
// origin says.
type Rules struct {
	Default   time.Duration // freshness of an answer that says nothing of it
	Heuristic float64       // share of the time since Last-Modified, where Default is 0
	HeurMax   time.Duration // at most
	StaleErr  time.Duration // stale-if-error of an answer that says nothing of it
	StaleWhil time.Duration // stale-while-revalidate likewise

	// What is not heeded, as with nginx's proxy_ignore_headers. Each makes another promise void.
	IgnoreControl, IgnoreCookies, IgnoreAuth, IgnoreVary bool
}

// Asked is what of a request decides whether an answer to it may be stored, or used for it.
type Asked struct {
	Personal bool // it has a password or a cookie
	NoStore  bool
}

// Terms are on which an answer is stored.
type Terms struct {
	Why      string        // it is not stored at all; "": it is
	Lifetime time.Duration // fresh for so long, from its birth at the origin on
	Shared   bool          // also for requests with a password or a cookie
	Check    bool          // never used without asking the origin (no-cache)
	NoStale  bool          // nor when it is stale (must-revalidate and its kin)
	While    time.Duration // used when stale, for so long, while it is revalidated
	Error    time.Duration // and when the origin fails
}

// storable are the statuses that are stored, if the origin says for how long; those that are true may be without.
var storable = map[int]bool{
	200: true, 203: true, 204: true, 300: true, 301: true, 308: true, 404: true, 410: true,
	302: false, 303: false, 307: false,
}

// Judge reads an answer. age is what it has already, by the answer itself.
func (r *Rules) Judge(status int, h http.Header, a Asked) (t Terms) {
	control := ParseControl(h["Cache-Control"])
	expires, dated := date(h, "Expires")
	special, ok := targeted(h["Cdn-Cache-Control"])
	if ok {
		control, dated = special, false
	}
	if r.IgnoreControl {
		control, dated = Control{}, false
	}
	heuristic, known := storable[status]
	t.Shared = control.Has("public") || control.Has("s-maxage")
	personal := a.Personal && !t.Shared && !control.Has("must-revalidate")
	switch {
	case !known:
		t.Why = "status"
	case control.Has("no-store"):
		t.Why = "no-store"
	case control.Has("private"):
		t.Why = "private"
	case a.NoStore:
		t.Why = "request-no-store"
	case personal:
		t.Why = "personal"
	case !r.IgnoreCookies && len(h["Set-Cookie"]) > 0:
		t.Why = "set-cookie"
	case !r.IgnoreVary && slices.Contains(varyNames(h), "*"):
		t.Why = "vary"
	case len(h["Content-Range"]) > 0:
		t.Why = "partial"
	}
	if t.Why != "" {
		return t
	}
	t.Shared = t.Shared || control.Has("must-revalidate")
	t.Check = control.Has("no-cache")
	t.NoStale = control.Has("must-revalidate") || control.Has("proxy-revalidate") || control.Has("s-maxage")
	explicit := true
	switch max, s := control.Has("max-age"), control.Has("s-maxage"); {
	case s:
		t.Lifetime, _ = control.Seconds("s-maxage")
	case max:
		t.Lifetime, _ = control.Seconds("max-age")
	case dated:
		if sent, there := date(h, "Date"); there && expires.After(sent) {
			t.Lifetime = expires.Sub(sent)
		}
	default:
		explicit = false
		t.Lifetime = r.guess(h, heuristic)
	}
	t.While, t.Error = r.StaleWhil, r.StaleErr
	if d, there := control.Seconds("stale-while-revalidate"); there {
		t.While = d
	}
	if d, there := control.Seconds("stale-if-error"); there {
		t.Error = d
	}
	if t.NoStale {
		t.While, t.Error = 0, 0
	}
	if t.Check {
		t.Lifetime, t.While, t.Error = 0, 0, 0
	}
	checkable := len(h["Etag"]) > 0 || len(h["Last-Modified"]) > 0
	switch {
	case !explicit && !t.Check && t.Lifetime == 0:
		t.Why = "no-freshness"
	case t.Lifetime == 0 && t.While == 0 && t.Error == 0 && !checkable:
		t.Why = "stale"
	}
	return t
}

// guess is the freshness of an answer that says nothing of it.
func (r *Rules) guess(h http.Header, may bool) time.Duration {
	if !may || r.Default > 0 {
		if may {
			return r.Default
		}
		return 0
	}
	modified, there := date(h, "Last-Modified")
	sent, known := date(h, "Date")
	if !there || !known || modified.IsZero() || !sent.After(modified) {
		return 0
	}
	return min(r.HeurMax, time.Duration(float64(sent.Sub(modified))*r.Heuristic))
}

// birth is when an answer left its origin, as far as it can be known: RFC 9111 section 4.2.3.
func birth(h http.Header, asked, answered time.Time) time.Time {
	age := answered.Sub(asked)
	if values := h["Age"]; len(values) > 0 {
		first, _, _ := strings.Cut(values[0], ",")
		age += delta(strings.TrimSpace(first))
	}
	if sent, there := date(h, "Date"); there && !sent.IsZero() {
		age = max(age, answered.Truncate(time.Second).Sub(sent)) // a Date has no fractions
	}
	return answered.Add(-age)
}

// varyNames are the names of a Vary field, as they are written in a header, sorted and each once.
func varyNames(h http.Header) []string {
	var names []string
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// varied is what a request says to those names: equal texts are equal requests (section 4.1).
func varied(names []string, h http.Header) string {
	if len(names) == 0 {
		return ""
	}
	var b strings.Builder
	for _, name := range names {
		values := h[name]
		if len(values) == 0 {
			b.WriteString("\x00\n") // no header's value has it
			continue
		}
		for i, line := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			for j, part := range strings.Split(line, ",") {
				if j > 0 {
					b.WriteByte(',')
				}
				b.WriteString(strings.TrimSpace(part))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// encodings are what a request may accept, in the order in which it is said to the origin.
var encodings = []string{"br", "gzip", "zstd"}

// plainEncoding makes of all the ways to accept the same encodings one, so that they are not as many variants. "" is
// none.
func plainEncoding(lines []string) string {
	var list []string
	for _, line := range lines {
		for part := range strings.SplitSeq(strings.ToLower(line), ",") {
			name, params, _ := strings.Cut(part, ";")
			if name = strings.TrimSpace(name); name == "*" {
				continue
			}
			q := strings.ReplaceAll(strings.ReplaceAll(params, " ", ""), "q=", "")
			if slices.Contains(encodings, name) && (params == "" || strings.Trim(q, "0.") != "") {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}
