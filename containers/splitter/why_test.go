package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"distlab/containers/internal/balance"
)

// whyServer asks /why of a splitter with such rules.
func whyServer(t *testing.T, rules Rules, arms ...string) (*Splitter, func(query string) Why) {
	t.Helper()
	s := &Splitter{Rules: rules}
	var specs []ArmSpec
	for _, a := range arms {
		specs = append(specs, armSpec(a))
	}
	s.Set(specs)
	mux := http.NewServeMux()
	(&Admin{Splitter: s}).Register(mux.Handle)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return s, func(query string) (w Why) {
		t.Helper()
		code, text := ask(t, "GET", srv.URL+"/why?"+query, "", "")
		if code != 200 {
			t.Fatalf("%s: %d %s", query, code, text)
		}
		check(t, json.Unmarshal([]byte(text), &w))
		return w
	}
}

func keyOf(t *testing.T, text string) (k Key) {
	t.Helper()
	check(t, k.UnmarshalText([]byte(text)))
	return k
}

func TestWhy(t *testing.T) {
	arms := []string{"production=http://web:80 weight=9", "experiment=http://exp:80 weight=1"}
	tests := []struct {
		name, query string
		rules       Rules
		arms        []string
		arm         string
		reason      Reason
		steps       string // part of them
	}{
		{
			"ip_hash", "address=10.0.4.1",
			Rules{Balance: "ip_hash"},
			arms, "experiment", "ip_hash",
			`ip_hash of the first 3 bytes of 10.0.4.1 = 2569; 2569 mod 10 (all weights) = 9|9 is in 9 to 9, the range of arm "experiment"`,
		},
		{"ip_hash of the book", "address=127.0.0.1", Rules{Balance: "ip_hash"}, arms, "production", "ip_hash", "= 4040"},
		{
			"split_clients", "path=/?user=user-42",
			Rules{Balance: "split_clients", Key: keyOf(t, "$arg_user")},
			arms[:1:1], "production", "split_clients",
			`$arg_user is "user-42"|murmur2("user-42") = 3766944517|the rest is arm "production"'s`,
		},
		{
			"header", "header=X-User:+user-42",
			Rules{Balance: "smooth", Sticky: Sticky{Kind: "header", Header: "X-User"}},
			arms, "production", "header",
			`murmur2("user-42") = 3766944517|3766944517 < 3865470565, the end of arm "production"'s share`,
		},
		{
			"no header", "",
			Rules{Balance: "smooth", Sticky: Sticky{Kind: "header", Header: "X-User"}},
			arms, "production", "smooth",
			"the request says nothing, so the balance decides|smooth weighted round robin",
		},
		{
			"cookie", "cookie=split=experiment",
			Rules{Balance: "smooth", Sticky: Sticky{Kind: "cookie", Cookie: "split"}},
			arms, "experiment", "cookie",
			`cookie split says "experiment"`,
		},
		{"override", "header=X-Arm:experiment", Rules{Balance: "smooth", Override: Override{Header: "X-Arm"}}, arms, "experiment", "override", `names arm "experiment"`},
		{"hash", "path=/a", Rules{Balance: "hash", Key: keyOf(t, "$request_uri")}, arms, "production", "hash", "(crc32 >> 16) & 0x7fff = "},
		{"empty key", "", Rules{Balance: "hash", Key: keyOf(t, "$arg_k")}, arms, "production", "hash", "an empty key has no place"},
		{"consistent", "path=/a", Rules{Balance: "consistent", Key: keyOf(t, "$request_uri")}, arms, "production", "consistent", "of 1600 points"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.rules.Fallback = true
			s, why := whyServer(t, tt.rules, tt.arms...)
			w := why(tt.query)
			if w.Arm != tt.arm || w.Reason != tt.reason {
				t.Errorf("%s for %s, want %s for %s", w.Arm, w.Reason, tt.arm, tt.reason)
			}
			all := strings.Join(w.Steps, "\n")
			for step := range strings.SplitSeq(tt.steps, "|") {
				if !strings.Contains(all, step) {
					t.Errorf("no %q in:\n%s", step, all)
				}
			}
			// It says what then happens, and has changed nothing.
			f := must(whyFacts(must(url.ParseQuery(tt.query))))
			if again := why(tt.query); again.Arm != w.Arm || again.Arms[0].InFlight != 0 {
				t.Errorf("asked again: %+v", again)
			}
			if d := s.Decide(f); d.Arm.Name != w.Arm || d.Reason != w.Reason {
				t.Errorf("then %s for %s", d.Arm.Name, d.Reason)
			}
		})
	}
}

func TestWhyFallback(t *testing.T) {
	s, why := whyServer(t, Rules{Balance: "ip_hash", Fallback: true}, "production=http://web:80 weight=9", "experiment=http://exp:80 weight=1")
	s.Health(s.Arms()[1], false)
	if w := why("address=10.0.4.1"); w.Arm != "production" || w.Reason != "fallback" || !strings.Contains(strings.Join(w.Steps, ""), "cannot be used now") {
		t.Errorf("%+v", w)
	}
}

// A signed cookie is not for whoever may ask.
func TestWhyKeepsCookies(t *testing.T) {
	_, why := whyServer(t, Rules{Balance: "smooth", Fallback: true, Sticky: Sticky{Kind: "cookie", Cookie: "split", Secret: "s"}}, "a=http://a")
	w := why("")
	if text := string(must(json.Marshal(w))); !w.Assigns || strings.Contains(text, "split=") {
		t.Errorf("%s", text)
	}
}

func TestWhyErrors(t *testing.T) {
	for _, query := range []string{"address=x", "header=x", "other=1"} {
		if _, err := whyFacts(must(url.ParseQuery(query))); err == nil {
			t.Errorf("%s: no error", query)
		}
	}
}

// A retry is of the arms that are in force then, without those that were tried.
func TestAgainAfterChange(t *testing.T) {
	s := &Splitter{Rules: Rules{Balance: "smooth", Fallback: true}, Budget: balance.Budget{PerSecond: 100}}
	s.Set([]ArmSpec{armSpec("a=http://a"), armSpec("b=http://b weight=0")})
	f := &Facts{Header: http.Header{}}
	d := s.Decide(f)
	if s.Again(&d, f, true) {
		t.Fatalf("there is no other: %+v", d)
	}
	s.Set([]ArmSpec{armSpec("new=http://new weight=0"), armSpec("b=http://b"), armSpec("a=http://a weight=100")})
	first := d.Arm
	if !s.Again(&d, f, true) || d.Arm.Name != "b" || d.Reason != ByRetry || d.Wanted.Name != "a" {
		t.Fatalf("after the change: %+v", d)
	}
	s.Done(first, Outcome{Kind: Failed})
	s.Done(d.Arm, Outcome{Kind: Good})
	for _, a := range s.states() {
		if a.InFlight != 0 {
			t.Errorf("%s: in flight %d", a.Name, a.InFlight)
		}
	}
}
