package main

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"distlab/containers/internal/httpcases"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"distlab/containers/internal/balance"
)

func TestArmSpec(t *testing.T) {
	def := ArmSpec{Name: "a", URL: "http://web:8080", Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second}
	with := func(edit func(*ArmSpec)) ArmSpec { s := def; edit(&s); return s }
	good := map[string]ArmSpec{
		"a=http://web:8080":                          def,
		" a=http://web:8080  weight=9 ":              with(func(s *ArmSpec) { s.Weight = 9 }),
		"a=http://web:8080 weight=0":                 with(func(s *ArmSpec) { s.Weight = 0 }),
		"a=h2c://web:8080 max_conns=2":               with(func(s *ArmSpec) { s.URL, s.MaxConns = "h2c://web:8080", 2 }),
		"a=http://web:8080 max_fails=0":              with(func(s *ArmSpec) { s.MaxFails = 0 }),
		"a=http://[::1]:80 down":                     with(func(s *ArmSpec) { s.URL, s.Down = "http://[::1]:80", true }),
		"a=http://web:8080 fail_timeout=5":           with(func(s *ArmSpec) { s.FailTimeout = 5 * time.Second }),
		"a=http://web:8080 drain fail_timeout=500ms": with(func(s *ArmSpec) { s.Drain, s.FailTimeout = true, 500*time.Millisecond }),
	}
	for text, want := range good {
		var got ArmSpec
		if err := got.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(ArmSpec{})); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	bad := map[string]string{
		"":                                   "no arm",
		"http://web:8080":                    "does not begin like",
		"a b=http://web":                     "does not begin like",
		"a.b=http://web":                     "does not begin like",
		"a=https://web":                      "not like http://host:8080",
		"a=web:8080":                         "not like http://host:8080",
		"a=http://web:0":                     "no valid port",
		"a=http://web:99999":                 "no valid port",
		"a=http://web:":                      "not like",
		"a=http://web/path":                  "more than a host and a port",
		"a=http://me@web":                    "more than a host and a port",
		"a=http://web weight=-1":             "not a number of 0 to",
		"a=http://web weight=99999999999999": "not a number of 0 to",
		"a=http://web weight":                "not a number of 0 to",
		"a=http://web down=yes":              "down has no value",
		"a=http://web fail_timeout=x":        "not a duration",
		"a=http://web backup":                `"backup" is none of`,
	}
	for text, want := range bad {
		var got ArmSpec
		if err := got.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := parseArms("a=http://web\na=http://exp\n"); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a name twice: %v", err)
	}
	if _, err := parseArms("a=http://web weight=0\nb=http://web down\nc=http://web drain"); err == nil {
		t.Error("nobody serves: no error")
	}
	if _, err := parseArms("a=x\nb=http://web weight=y"); err == nil || !strings.Contains(err.Error(), "line 1: ") || !strings.Contains(err.Error(), "line 2: ") {
		t.Errorf("two bad lines: %v", err)
	}
}

func TestKey(t *testing.T) {
	f := &Facts{
		Method: "GET", Host: "shop", Client: netip.MustParseAddr("10.0.0.7"),
		Header: http.Header{"Cookie": {`a=b; id="7"; c`}, "X-User-Id": {"me"}},
	}
	f.SetTarget("/a%20b?x=1&User=42&empty=&user=43")
	for template, want := range map[string]string{
		"": "", "text": "text", "$remote_addr": "10.0.0.7", "${remote_addr}AAA": "10.0.0.7AAA", "a$remote_addr-b": "a10.0.0.7-b",
		"$uri": "/a%20b", "$request_uri": "/a%20b?x=1&User=42&empty=&user=43", "$args": "x=1&User=42&empty=&user=43", "$host": "shop",
		"$request_method": "GET", "$arg_user": "42", "$arg_empty": "", "$arg_none": "", "$cookie_id": "7", "$cookie_c": "",
		"$http_x_user_id/$arg_x": "me/1",
	} {
		var k Key
		check(t, k.UnmarshalText([]byte(template)))
		if got := string(k.Append(nil, f)); got != want {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
	}
	// As nginx has it: what was sent, whatever it is.
	for _, target := range httpcases.Targets {
		var k Key
		check(t, k.UnmarshalText([]byte("$request_uri")))
		f.SetTarget(target)
		if got := string(k.Append(nil, f)); got != target {
			t.Errorf("$request_uri of %s: %q", target, got)
		}
		if f, err := whyFacts(url.Values{"path": {target}}); err != nil || string(k.Append(nil, f)) != target {
			t.Errorf("/why of %s: %+v, %v", target, f, err)
		}
	}
	for _, bad := range []string{"$", "$other", "${remote_addr", "${}", "$arg_", "a$"} {
		var k Key
		if err := k.UnmarshalText([]byte(bad)); bad != "${remote_addr" && err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestCookie(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "split=a": "a", "x=y; split=a": "a", "split=a; split=b": "a", "xsplit=b;split=a ; c=d": "a", `split="a"`: "a",
		"split": "", "SPLIT=a": "", "split=a=b": "a=b", `split="`: `"`,
	} {
		if got := balance.Cookie(header, "split"); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

// What is read out of a request is part of it, and never more than it.
func FuzzFacts(f *testing.F) {
	f.Add("a=b; split=x", "a=b&split=x", "$arg_split$cookie_split")
	f.Add(`split="`, "split", "${remote_addr}A$http_a_b")
	f.Fuzz(func(t *testing.T, header, query, template string) {
		if v := balance.Cookie(header, "split"); !strings.Contains(header, v) {
			t.Errorf("cookie %q of %q", v, header)
		}
		if v := balance.Argument(query, "split"); !strings.Contains(query, v) {
			t.Errorf("argument %q of %q", v, query)
		}
		var k Key
		if k.UnmarshalText([]byte(template)) == nil {
			k.Append(nil, &Facts{RawQuery: query, Header: http.Header{"Cookie": {header}}})
		}
		r := Rules{
			Balance: "smooth", Fallback: true,
			Sticky:   Sticky{Kind: "cookie", Cookie: "split", Secret: "s"},
			Override: Override{Header: "A", Cookie: "o", Query: "o", Token: "t"},
		}
		s := &Splitter{Rules: r}
		s.Set([]ArmSpec{armSpec("a=http://a")})
		if d := s.Decide(&Facts{RawQuery: query, Header: http.Header{"Cookie": {header}, "A": {template}}}); d.Arm == nil {
			t.Error("no arm")
		}
	})
}

// An arm that is accepted is written as it was meant, and read back the same.
func FuzzArms(f *testing.F) {
	f.Add("a=http://web:8080 weight=9 max_fails=3 fail_timeout=5 # x\n\nb=h2c://[::1]:80 down drain max_conns=7")
	f.Fuzz(func(t *testing.T, text string) {
		arms, err := parseArms(text)
		if err != nil {
			return
		}
		var lines []string
		for _, a := range arms {
			lines = append(lines, a.String())
		}
		again, err := parseArms(strings.Join(lines, "\n"))
		if err != nil {
			t.Fatalf("%q: %v", lines, err)
		}
		if diff := cmp.Diff(arms, again, cmp.AllowUnexported(ArmSpec{})); diff != "" {
			t.Error(diff)
		}
		s := &Splitter{Rules: Rules{Balance: "smooth"}}
		s.Set(arms)
		if d := s.Decide(&Facts{Header: http.Header{}}); d.Arm == nil {
			t.Error("no arm")
		}
	})
}

// The decision allocates nothing, whatever it rests on.
func TestDecideAllocates(t *testing.T) {
	key := func(text string) Key { var k Key; check(t, k.UnmarshalText([]byte(text))); return k }
	facts := Facts{
		Method: "GET", Path: "/a", RawQuery: "user=42&arm=b:t", Host: "shop", Client: netip.MustParseAddr("10.0.0.7"),
		Header: http.Header{"Cookie": {"a=b; split=b"}, "X-User": {"me"}},
	}
	rules := map[string]Rules{
		"smooth":        {Balance: "smooth"},
		"ip_hash":       {Balance: "ip_hash"},
		"hash":          {Balance: "hash", Key: key("$remote_addr$arg_user$http_x_user")},
		"consistent":    {Balance: "consistent", Key: key("$request_uri")},
		"split_clients": {Balance: "split_clients", Key: key("$cookie_split")},
		"cookie":        {Balance: "smooth", Sticky: Sticky{Kind: "cookie", Cookie: "split"}},
		"header":        {Balance: "smooth", Sticky: Sticky{Kind: "header", Header: "X-User", Salt: "s"}},
		"address":       {Balance: "smooth", Sticky: Sticky{Kind: "address", Salt: "s"}},
		"override":      {Balance: "smooth", Override: Override{Query: "arm", Token: "t"}},
	}
	for name, r := range rules {
		for _, fallback := range []bool{false, true} {
			r.Fallback = fallback
			s := &Splitter{Rules: r, Budget: balance.Budget{PerSecond: 1e9}}
			s.Set([]ArmSpec{armSpec("a=http://a max_fails=0"), armSpec("b=http://b max_fails=0"), armSpec("c=http://c max_fails=0")})
			if n := testing.AllocsPerRun(100, func() {
				d := s.Decide(&facts)
				first := d.Arm
				if s.Again(&d, &facts, true) {
					s.Done(first, Outcome{Kind: Failed})
				}
				s.Done(d.Arm, Outcome{Kind: Good})
			}); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}
