package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func checkFormats(t *testing.T, l line) {
	t.Helper()
	text := appendJSON(nil, l)
	if !json.Valid(text) || strings.Count(string(text), "\n") != 1 {
		t.Errorf("not a line of JSON: %q", text)
	}
	if text := appendLogfmt(nil, l); strings.Count(string(text), "\n") != 1 || !utf8.Valid(text) {
		t.Errorf("not a line: %q", text)
	}
	appendRedis(nil, l)
}

func TestFormats(t *testing.T) {
	e := Entry{
		ID: 14, Time: time.Unix(1309448221, 0).UTC(), Duration: 15 * time.Millisecond,
		Args: []string{"SET", "a b", "x\xff\n\"=", ""}, Client: "127.0.0.1:58217",
	}
	old := e
	old.short, old.Client = true, ""
	now := time.Unix(1309448300, 999)
	for _, tt := range []struct {
		name string
		line line
		json string
		fmt  string
		text string
	}{
		{
			"an entry", slowLine(e, e.Args, "r1"),
			`{"time":"2011-06-30T15:37:01Z","event":"slow","id":14,"duration_us":15000,"argv":["SET","a b","x\\xff\n\"=",""],` +
				`"client":"127.0.0.1:58217","client_name":"","run_id":"r1"}`,
			`time=2011-06-30T15:37:01Z event=slow id=14 duration_us=15000 command="SET \"a b\" \"x\\xff\\n\\\"=\" \"\"" client=127.0.0.1:58217 client_name="" run_id=r1`,
			"1) (integer) 14\n2) (integer) 1309448221\n3) (integer) 15000\n4) 1) \"SET\"\n   2) \"a b\"\n   3) \"x\\xff\\n\\\"=\"\n   4) \"\"\n5) \"127.0.0.1:58217\"\n6) \"\"",
		},
		{
			"an entry of four fields", slowLine(old, []string{"GET"}, "r1"),
			`{"time":"2011-06-30T15:37:01Z","event":"slow","id":14,"duration_us":15000,"argv":["GET"],"run_id":"r1"}`,
			`time=2011-06-30T15:37:01Z event=slow id=14 duration_us=15000 command=GET run_id=r1`,
			"1) (integer) 14\n2) (integer) 1309448221\n3) (integer) 15000\n4) 1) \"GET\"",
		},
		{
			"a loss", lostLine(now, 3, 0, overflow, "r1"),
			`{"time":"2011-06-30T15:38:20Z","event":"lost","lost":3,"first_id":0,"last_id":2,"reason":"overflow","run_id":"r1"}`,
			`time=2011-06-30T15:38:20Z event=lost lost=3 first_id=0 last_id=2 reason=overflow run_id=r1`,
			"# lost 3 entries, IDs 0 to 2: overflow",
		},
		{
			"a restart", restartLine(now, Cursor{RunID: "r0", Last: -1}, "r1"),
			`{"time":"2011-06-30T15:38:20Z","event":"restart","last_id":-1,"old_run_id":"r0","run_id":"r1"}`,
			`time=2011-06-30T15:38:20Z event=restart last_id=-1 old_run_id=r0 run_id=r1`,
			"# restart: run ID r1, was r0; the last ID read was -1",
		},
	} {
		for i, want := range []string{tt.json, tt.fmt, tt.text} {
			format := []string{"json", "logfmt", "redis"}[i]
			if diff := cmp.Diff(want+"\n", string(formats[format](nil, tt.line))); diff != "" {
				t.Errorf("%s as %s (-want +got):\n%s", tt.name, format, diff)
			}
		}
	}
}

func TestRedact(t *testing.T) {
	r := newRedact("get", "client|SetInfo")
	for _, tt := range []struct{ args, want string }{
		{"AUTH hunter2", "AUTH (redacted)"},
		{"auth bob hunter2", "auth (redacted)"},
		{"Hello 2 AUTH bob hunter2", "Hello (redacted)"},
		{"CONFIG SET requirepass hunter2", "CONFIG (redacted)"},
		{"ACL SETUSER bob >hunter2", "ACL (redacted)"},
		{"MIGRATE h 1 k 0 5 AUTH hunter2", "MIGRATE (redacted)"},
		{"GET hunter2", "GET (redacted)"},
		{"GET", "GET"},
		{"CLIENT SETINFO lib-name x", "CLIENT SETINFO (redacted)"},
		{"CLIENT SETINFO", "CLIENT SETINFO"},
		{"CLIENT LIST", "CLIENT LIST"},
		{"SET a b", "SET a b"},
		{"", ""},
	} {
		args := strings.Fields(tt.args)
		got, hidden := r.args(args)
		if strings.Join(got, " ") != tt.want || hidden != (tt.args != tt.want) {
			t.Errorf("%s is shown as %q, hidden %t", tt.args, got, hidden)
		}
		if strings.Join(args, " ") != tt.args {
			t.Errorf("%s was changed to %q", tt.args, args)
		}
	}
	if got, _ := newRedact("*").args([]string{"SET", "a", "b"}); len(got) != 2 {
		t.Errorf("* leaves %q", got)
	}
	for _, name := range []string{"", "a b", "|x", "x|", "a|b|c", "**"} {
		var n redactName
		if n.UnmarshalText([]byte(name)) == nil {
			t.Errorf("%q is taken for a command", name)
		}
	}
}
