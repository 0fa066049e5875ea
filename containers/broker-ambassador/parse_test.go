package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

func TestParseInstance(t *testing.T) {
	for _, c := range []struct{ name, id, text, want string }{
		{"well", "a", `{"address":"redis-a:6379","labels":{"env":"staging"}}`, ""},
		{"more than is known", "a", `{"address":"redis-a:6379","since":12}`, ""},
		{"IPv6", "a", `{"address":"[::1]:6379"}`, ""},
		{"an ID of its own does not count", "a", `{"id":"b","address":"x:1"}`, ""},
		{"no JSON", "a", "redis-a:6379", "not a registration"},
		{"half", "a", `{"address":"redis-a:6379"`, "not a registration"},
		{"empty", "a", "", "not a registration"},
		{"null", "a", "null", "not host:port"},
		{"bytes", "a", "\x00\xff", "not UTF-8"},
		{"no port", "a", `{"address":"redis-a"}`, "not host:port"},
		{"port 0", "a", `{"address":"redis-a:0"}`, "no port"},
		{"port 65536", "a", `{"address":"redis-a:65536"}`, "no port"},
		{"port 65535", "a", `{"address":"redis-a:65535"}`, ""},
		{"no host", "a", `{"address":":6379"}`, "not host:port"},
		{"a host with a line's end", "a", `{"address":"a\nb:1"}`, "not host:port"},
		{"a URL", "a", `{"address":"http://a:1"}`, "not host:port"},
		{"no ID", "", `{"address":"a:1"}`, "an ID"},
		{"a long ID", strings.Repeat("x", 254), `{"address":"a:1"}`, "an ID"},
		{"as long as may be", strings.Repeat("x", 253), `{"address":"a:1"}`, ""},
		{"a label with a space", "a", `{"address":"a:1","labels":{"env":"sta ging"}}`, "label"},
		{"a label that is no text", "a", `{"address":"a:1","labels":{"env":1}}`, "not a registration"},
		{"a weight below nothing", "a", `{"address":"a:1","weight":-1}`, "weight"},
	} {
		in, err := ParseInstance(c.id, c.text)
		if c.want == "" && (err != nil || in.ID != c.id) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %+v, %v; want %q", c.name, in, err, c.want)
		}
	}
}

func TestSelector(t *testing.T) {
	s := Selector{"env": "staging", "tier": ""}
	for _, c := range []struct {
		labels map[string]string
		want   bool
	}{
		{map[string]string{"env": "staging", "tier": "", "more": "x"}, true},
		{map[string]string{"env": "staging"}, false}, // a label that is not there is not one that is empty
		{map[string]string{"env": "Staging", "tier": ""}, false},
		{map[string]string{"env": "staging2", "tier": ""}, false},
		{nil, false},
	} {
		if got := s.fits(Instance{Labels: c.labels}); got != c.want {
			t.Errorf("%v: %v", c.labels, got)
		}
	}
	if !Selector(nil).fits(Instance{}) {
		t.Error("no selector does not take all")
	}
}

func TestParseFile(t *testing.T) {
	a, err := ParseFile("v", []byte(`{"redis":[
		{"id":"a","address":"a:1"}, {"id":"a","address":"again:1"}, {"address":"b:1"}, 7, {"id":"c","address":"c"}],
		"mysql":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Instance{{ID: "a", Address: "a:1"}}, a.Instances["redis"]); d != "" {
		t.Error(d)
	}
	if len(a.Garbled["redis"]) != 4 {
		t.Errorf("garbled: %v", a.Garbled)
	}
	for _, bad := range []string{"", "null", "[]", `{"redis":{}}`, "<html>", `{"redis":[`} {
		if _, err := ParseFile("v", []byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestParseState(t *testing.T) {
	now := time.Unix(1_000_000, 0).UTC()
	state, err := ParseState([]byte(`{"redis":{"select":"env=x","version":"7","confirmed":"2099-01-01T00:00:00Z",
		"instances":[{"id":"a","address":"a:1"}]}}`), now)
	if err != nil || !state["redis"].Confirmed.Equal(now) {
		t.Errorf("%+v, %v: it is of the future", state, err)
	}
	for _, bad := range []string{"", "7", `{"redis":{"instances":[{"id":"a","address":"nowhere"}]}}`, `{"redis":{"confirmed":"yesterday"}}`} {
		if _, err := ParseState([]byte(bad), now); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// record is an answer's.
func record(q dnsmessage.Question, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type, TTL: ttl}
	if _, ok := body.(*dnsmessage.CNAMEResource); ok {
		h.Type = dnsmessage.TypeCNAME
	}
	return dnsmessage.Resource{Header: h, Body: body}
}

func packet(t testing.TB, h dnsmessage.Header, q dnsmessage.Question, list ...dnsmessage.Resource) []byte {
	t.Helper()
	h.Response = true
	m := dnsmessage.Message{Header: h, Questions: []dnsmessage.Question{q}, Answers: list}
	text, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func question(t testing.TB, name string, kind dnsmessage.Type) dnsmessage.Question {
	t.Helper()
	q, err := newQuestion(name, kind)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func srv(priority, weight, port uint16, target string) *dnsmessage.SRVResource {
	return &dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: dnsmessage.MustNewName(target)}
}

func TestParseDNS(t *testing.T) {
	a := question(t, "redis.staging", dnsmessage.TypeA)
	s := question(t, "_redis._tcp.staging", dnsmessage.TypeSRV)
	one := func(n byte) *dnsmessage.AResource { return &dnsmessage.AResource{A: [4]byte{10, 0, 0, n}} }
	ok, gone, failed := dnsmessage.Header{ID: 7}, dnsmessage.Header{ID: 7, RCode: dnsmessage.RCodeNameError}, dnsmessage.Header{
		ID: 7, RCode: dnsmessage.RCodeServerFailure,
	}
	for _, c := range []struct {
		name   string
		q      dnsmessage.Question
		packet []byte
		want   []Instance
		ttl    time.Duration
		err    bool
	}{
		{
			"all addresses, the least TTL", a, packet(t, ok, a, record(a, 60, one(1)), record(a, 5, one(2)), record(a, 60, one(1))),
			[]Instance{{ID: "10.0.0.1:6379", Address: "10.0.0.1:6379"}, {ID: "10.0.0.2:6379", Address: "10.0.0.2:6379"}},
			5 * time.Second, false,
		},
		{
			"by an alias", a, packet(t, ok, a, record(a, 1, &dnsmessage.CNAMEResource{CNAME: a.Name}), record(a, 9, one(1))),
			[]Instance{{ID: "10.0.0.1:6379", Address: "10.0.0.1:6379"}},
			9 * time.Second, false,
		},
		{"a TTL of nothing", a, packet(t, ok, a, record(a, 0, one(1))), []Instance{{ID: "10.0.0.1:6379", Address: "10.0.0.1:6379"}}, 0, false},
		{"no such record", a, packet(t, ok, a), nil, 0, false},
		{"no such name", a, packet(t, gone, a), nil, 0, false},
		{"the server failed", a, packet(t, failed, a), nil, 0, true},
		{"refused", a, packet(t, dnsmessage.Header{ID: 7, RCode: dnsmessage.RCodeRefused}, a), nil, 0, true},
		{"another's", a, packet(t, dnsmessage.Header{ID: 8}, a, record(a, 1, one(1))), nil, 0, true},
		{"to another question", a, packet(t, ok, s), nil, 0, true},
		{"half", a, packet(t, ok, a, record(a, 60, one(1)))[:40], nil, 0, true},
		{
			"SRV", s, packet(t, ok, s, record(s, 30, srv(10, 5, 6380, "b.")), record(s, 30, srv(0, 0, 6379, "a."))),
			[]Instance{{ID: "b:6380", Address: "b:6380", Priority: 10, Weight: 5}, {ID: "a:6379", Address: "a:6379"}},
			30 * time.Second, false,
		},
		{"SRV that says there is none", s, packet(t, ok, s, record(s, 30, srv(0, 0, 0, "."))), nil, 0, false},
		{"SRV without a port", s, packet(t, ok, s, record(s, 30, srv(0, 0, 0, "a."))), nil, 0, true},
	} {
		list, ttl, err := ParseDNS(c.packet, 7, c.q, "6379")
		if (err != nil) != c.err || ttl != c.ttl && !c.err {
			t.Errorf("%s: %v, %v", c.name, ttl, err)
		}
		if d := cmp.Diff(c.want, list); d != "" && !c.err {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if _, _, err := ParseDNS(packet(t, failed, a), 7, a, "1"); !errors.Is(err, errServer) {
		t.Errorf("%v", err)
	}
}

func FuzzParseDNS(f *testing.F) {
	q := question(f, "_redis._tcp.staging", dnsmessage.TypeSRV)
	f.Add(packet(f, dnsmessage.Header{ID: 7}, q, record(q, 30, srv(10, 5, 6380, "b.")), record(q, 30, srv(0, 0, 0, "."))))
	f.Add([]byte("\x00\x07\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		list, ttl, err := ParseDNS(packet, 7, q, "1")
		if err != nil {
			return
		}
		for _, in := range list {
			if in.check() != nil || ttl < 0 {
				t.Errorf("%+v, %v", in, ttl)
			}
		}
	})
}

func FuzzParseInstance(f *testing.F) {
	f.Add("a", `{"address":"redis-a:6379","labels":{"env":"staging"},"weight":3}`)
	f.Add("\x1b[2J", `{"address":"[::1]:1"}`)
	f.Fuzz(func(t *testing.T, id, text string) {
		in, err := ParseInstance(id, text)
		if err == nil && (in.ID != id || in.check() != nil || !plain(in.ID)) {
			t.Errorf("%q, %q: %+v", id, text, in)
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(`{"redis":[{"id":"a","address":"a:1"},7]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := ParseFile("v", text)
		if err != nil {
			return
		}
		for _, list := range a.Instances {
			for _, in := range list {
				if in.check() != nil {
					t.Errorf("%+v", in)
				}
			}
		}
	})
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"redis":{"select":"env=x","version":"7","confirmed":"2020-01-01T00:00:00Z","instances":[{"id":"a","address":"a:1"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		now := time.Unix(1_700_000_000, 0)
		state, err := ParseState(text, now)
		for _, kept := range state {
			if err == nil && kept.Confirmed.After(now) {
				t.Errorf("%v is to come", kept.Confirmed)
			}
		}
	})
}

func TestParseCheck(t *testing.T) {
	for text, want := range map[string]Check{
		"tcp": {Kind: "tcp"}, "none": {Kind: "none"}, "PING:+PONG": {"line", "PING", "+PONG"}, ":220 ": {"line", "", "220 "}, "A:B:C": {"line", "A", "B:C"},
	} {
		if got, err := ParseCheck(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "http", "PING:", ":", "PING:+PONG\n"} {
		if _, err := ParseCheck(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
