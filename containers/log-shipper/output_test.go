package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"distlab/containers/internal/follow"
	"distlab/containers/internal/jsontext"
)

// odd are texts that an encoding may get wrong.
var odd = []string{
	"plain", "", `quotes " and \`, "tab\there", "bell\a and escape\x1b[31m", "é € 😀", "del\x7f", "\u2028", "nul\x00within", `{"json":1}`, "<&>",
}

func records(texts ...string) (list []follow.Record) {
	at := int64(0)
	for _, text := range texts {
		end := at + int64(len(text)) + 1
		list = append(list, follow.Record{Stream: "5e", Source: "/logs/a b.log", Path: "/logs/a b.log.1", Offset: at, End: end, Text: []byte(text)})
		at = end
	}
	return list
}

func TestRecord(t *testing.T) {
	for _, r := range records(append(odd, "\xff\xfe not text")...) {
		r.Truncated, r.Partial = true, r.Offset == 0
		var got struct {
			Stream, Source, Host, Service string
			Offset, End                   int64
			Truncated, Partial            bool
			Line                          *string
			Base64                        []byte `json:"line_base64"`
		}
		text := appendRecord(nil, &r, "h\"ost", "app")
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v: %s", r.Text, err, text)
		}
		line := string(got.Base64)
		if got.Line != nil {
			line = *got.Line
		}
		if line != string(r.Text) || got.Offset != r.Offset || got.End != r.End || got.Stream != "5e" || got.Source != r.Source ||
			got.Host != "h\"ost" || got.Service != "app" || !got.Truncated || got.Partial != r.Partial || strings.Count(string(text), "\n") != 1 {
			t.Errorf("%q became %s", r.Text, text)
		}
	}
}

// FuzzString holds the JSON that is written here to encoding/json's reading.
func FuzzString(f *testing.F) {
	for _, s := range odd {
		f.Add(s)
	}
	f.Add("\xff\xc3\x28\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(jsontext.Append(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); strings.ReplaceAll(got, "\ufffd", "") != strings.ReplaceAll(want, "\ufffd", "") {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// OTLP's own messages read what is sent: the wire format is theirs.
func TestOTLP(t *testing.T) {
	list := records(append(odd, "\xff not text")...)
	list[0].Truncated, list[1].Partial = true, true
	var req collector.ExportLogsServiceRequest
	if err := protojson.Unmarshal(appendOTLP(nil, list, "host", "app", time.Unix(5, 7)), &req); err != nil {
		t.Fatal(err)
	}
	res := req.ResourceLogs[0]
	if a := res.Resource.Attributes; len(a) != 2 || a[0].Key != "service.name" || a[0].Value.GetStringValue() != "app" || a[1].Value.GetStringValue() != "host" {
		t.Errorf("resource %v", a)
	}
	for i, l := range res.ScopeLogs[0].LogRecords {
		text := l.Body.GetStringValue()
		if b := l.Body.GetBytesValue(); b != nil {
			text = string(b)
		}
		attrs := map[string]string{}
		for _, a := range l.Attributes {
			attrs[a.Key] = a.Value.GetStringValue()
		}
		if text != string(list[i].Text) || l.ObservedTimeUnixNano != 5_000_000_007 || attrs["log.record.uid"] != fmt.Sprintf("5e:%d", list[i].Offset) ||
			attrs["log.file.path"] != "/logs/a b.log" || attrs["log.file.name"] != "a b.log" {
			t.Errorf("%q became %v", list[i].Text, l)
		}
	}
}

// What an OTLP receiver does not take is counted and not sent again.
func TestOTLPPartialSuccess(t *testing.T) {
	for answer, want := range map[string]int64{
		`{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no"}}`: 2,
		`{"partialSuccess":{"rejectedLogRecords":3}}`:                       3,
		`{"partialSuccess":{}}`:                                             0, `{}`: 0, ``: 0, `<html>`: 0,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Content-Type") != "application/json" || r.URL.Path != "/v1/logs" {
				http.Error(w, "no", http.StatusBadRequest)
				return
			}
			io.WriteString(w, answer)
		}))
		defer srv.Close()
		got := int64(0)
		h := &HTTP{Client: newClient(&http.Transport{}), URL: srv.URL + "/v1/logs", OTLP: true, Gzip: true, Reject: func(n int64, _ string) { got += n }}
		if err := h.Send(t.Context(), records("a", "b", "c")); err != nil || got != want {
			t.Errorf("%s: %d rejected, %v", answer, got, err)
		}
	}
}

// Answers that are hostile or odd: nothing is acknowledged by them, and none is read without end.
func TestAnswers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:9/", http.StatusFound)
		},
		"a permanent redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusPermanentRedirect) },
		"an endless error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		},
		"an acknowledgement that is cut": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusOK)
			w.Write([]byte("short"))
			panic(http.ErrAbortHandler)
		},
		"unauthorized": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
	} {
		srv := httptest.NewServer(answer)
		h := &HTTP{Client: newClient(&http.Transport{MaxResponseHeaderBytes: maxAnswer}), URL: srv.URL}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := h.Send(ctx, records("a")); err == nil || strings.Contains(err.Error(), errRejected.Error()) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		h.Close()
		srv.CloseClientConnections()
		srv.Close()
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"0": 0, "120": 2 * time.Minute, "Wed, 25 Nov 2026 12:00:30 GMT": 30 * time.Second, "Wed, 25 Nov 2026 11:00:00 GMT": 0,
		"": -1, "-1": -1, "soon": -1, "99999999999999999999": -1,
	} {
		got, ok := parseRetryAfter(text, now)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// receiver reads octet-counted messages, as RFC 6587 has them.
func receive(t *testing.T, conn net.Conn) (list []string) {
	t.Helper()
	r := bufio.NewReader(conn)
	for {
		head, err := r.ReadString(' ')
		if err == io.EOF && head == "" {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(head))
		if err != nil {
			t.Fatal(err)
		}
		msg := make([]byte, n)
		if _, err := io.ReadFull(r, msg); err != nil {
			t.Fatal(err)
		}
		list = append(list, string(msg))
	}
}

func TestSyslog(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	got := make(chan []string, 2)
	go func() {
		for range 2 {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			got <- receive(t, conn)
			conn.Close()
		}
	}()
	s := &Syslog{Addr: ln.Addr().String(), Host: "a host", Service: "", Priority: syslogPriority}
	list := records("plain", "two\nlines", "")
	list[1].Source, list[1].Truncated = `odd"]\name`, true
	if err := s.Send(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	s.Close()
	first := <-got
	for i, want := range []string{
		` a_host - - - [line@32473 stream="5e" offset="0" source="/logs/a b.log"] plain`,
		` a_host - - - [line@32473 stream="5e" offset="6" source="odd\"\]\\name" truncated="true"] two` + "\nlines",
		` a_host - - - [line@32473 stream="5e" offset="16" source="/logs/a b.log"] `,
	} {
		_, rest, _ := strings.Cut(first[i], "Z")
		if rest != want || !strings.HasPrefix(first[i], "<134>1 20") {
			t.Errorf("message %q, want %q", first[i], want)
		}
	}
	// A receiver that has gone is noticed before the next batch, not after it.
	if err := s.Send(t.Context(), records("again")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if diff := cmp.Diff(1, len(<-got)); diff != "" {
		t.Errorf("messages after reconnecting (-want +got):\n%s", diff)
	}
}

// A receiver that takes nothing is no acknowledgement, though this kernel has taken all: what it has not is waited for.
func TestSyslogNotTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := ln.Accept(); err == nil {
			accepted <- conn
		}
	}()
	s := &Syslog{Addr: ln.Addr().String()}
	defer s.Close()
	if err := s.Send(t.Context(), records("first")); err != nil {
		t.Fatal(err)
	}
	peer := <-accepted
	defer peer.Close()
	if err := errors.Join(peer.(*net.TCPConn).SetReadBuffer(2048), s.conn.(*net.TCPConn).SetWriteBuffer(32<<20)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, records(strings.Repeat("x", 2<<20))); err == nil || !strings.Contains(err.Error(), "not taken") {
		t.Errorf("2 MB for somebody who reads nothing: %v", err)
	}
}
