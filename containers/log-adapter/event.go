package main

import (
	"strconv"
	"time"

	"distlab/containers/internal/jsontext"
)

// Event is what an app had to say, whatever its log looks like.
type Event struct {
	Time      time.Time // zero: the line has none
	Zone      string    // as the line had it; empty: it had none, and LOG_TZ was taken
	Ambiguous bool      // the local time was there twice, or never
	Observed  time.Time
	Level     string // the app's own word
	Severity  int    // OpenTelemetry's number; 0: unknown
	Body      string
	Format    string
	Attrs     []Attr
	Original  string // the lines as they were, without the last line end
	Unparsed  string // why it is not understood; Body is the line then
	Source    string // file, address or stdin
	Truncated bool
	lines     int  // of them
	Late      bool // what begins like the rest of an event that was written already
}

// Attr is a field. A value that is not text is JSON already.
type Attr struct {
	Key, Value string
	JSON       bool
}

func (e *Event) add(key, value string) { e.Attrs = append(e.Attrs, Attr{Key: key, Value: value}) }

// number adds a field that is a number if it looks like one that JSON can have.
func (e *Event) number(key, value string) {
	e.Attrs = append(e.Attrs, Attr{key, value, isInt(value)})
}

func isInt(s string) bool {
	if len(s) == 0 || len(s) > 18 || len(s) > 1 && s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// level notes the app's word for how bad it is.
func (e *Event) level(word string) {
	if word != "" {
		e.Level, e.Severity = word, severity(word)
	}
}

// severity is OpenTelemetry's number of a word; syslog's words are as in the data model's appendix B.
func severity(word string) int {
	var buf [12]byte
	if len(word) > len(buf) {
		return 0
	}
	b := buf[:len(word)]
	for i := range len(word) {
		b[i] = word[i] | 0x20
	}
	switch string(b) {
	case "trace", "trce", "finest", "verbose", "vrb":
		return 1
	case "debug", "dbug", "dbg", "fine", "finer":
		return 5
	case "info", "inf", "information", "informational", "config":
		return 9
	case "notice":
		return 10
	case "warn", "wrn", "warning":
		return 13
	case "error", "err", "eror", "severe", "fail":
		return 17
	case "crit", "critical":
		return 18
	case "alert":
		return 19
	case "fatal", "ftl", "emerg", "emergency", "panic", "dpanic":
		return 21
	}
	return 0
}

const rfc3339 = "2006-01-02T15:04:05.999999999Z07:00"

func appendKey(b []byte, key string) []byte {
	if n := len(b); b[n-1] != '{' {
		b = append(b, ',')
	}
	return append(jsontext.Append(b, key), ':')
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	return append(t.UTC().AppendFormat(b, rfc3339), '"')
}

// Render appends an event as one line. Each field's name is there once.
type Render func(b []byte, e *Event, service string) []byte

// renders are the values of OUTPUT.
var renders = map[string]Render{"otel": appendOTel, "ecs": appendECS}

// fields are those of an event that its format does not give.
func (e *Event) fields(b []byte) []byte {
	if e.Source != "" {
		b = jsontext.Append(appendKey(b, "log.source"), e.Source)
	}
	if e.Format != "" {
		b = jsontext.Append(appendKey(b, "log.format"), e.Format)
	}
	if e.Zone != "" {
		b = jsontext.Append(appendKey(b, "log.time.zone"), e.Zone)
	}
	for _, f := range []struct {
		key string
		is  bool
	}{
		{"log.time.ambiguous", e.Ambiguous},
		{"log.time.observed", e.Time.IsZero()},
		{"log.truncated", e.Truncated},
		{"log.continuation", e.Late},
	} {
		if f.is {
			b = append(appendKey(b, f.key), "true"...)
		}
	}
	if e.Unparsed != "" {
		b = jsontext.Append(appendKey(b, "log.unparsed"), e.Unparsed)
	}
	return b
}

// own are the names that the adapter gives; an app's field with one of them gets the app's in front of it.
func own(key string) bool { return len(key) > 4 && key[:4] == "log." }

func (e *Event) attrs(b []byte, taken func(string) bool) []byte {
	for i, a := range e.Attrs {
		key := a.Key
		if own(key) || taken != nil && taken(key) {
			key = "app." + key
		}
		for j := i + 1; j < len(e.Attrs); j++ {
			if e.Attrs[j].Key == a.Key { // of a name that is there twice the last counts, as in JSON
				key = ""
				break
			}
		}
		switch {
		case key == "":
		case a.JSON:
			b = jsontext.Escape(appendKey(b, key), a.Value, false)
		default:
			b = jsontext.Append(appendKey(b, key), a.Value)
		}
	}
	return b
}

// appendOTel writes OpenTelemetry's log data model, its fields under their names in it.
func appendOTel(b []byte, e *Event, service string) []byte {
	at := e.Time
	if at.IsZero() {
		at = e.Observed
	}
	b = appendTime(append(b, `{"Timestamp":`...), at)
	b = appendTime(append(b, `,"ObservedTimestamp":`...), e.Observed)
	if e.Level != "" {
		b = jsontext.Append(append(b, `,"SeverityText":`...), e.Level)
	}
	if e.Severity > 0 {
		b = strconv.AppendInt(append(b, `,"SeverityNumber":`...), int64(e.Severity), 10)
	}
	b = jsontext.Append(append(b, `,"Body":`...), e.Body)
	b = e.fields(append(b, `,"Attributes":{`...))
	b = e.attrs(b, nil)
	if e.Original != "" {
		b = jsontext.Append(appendKey(b, "log.record.original"), e.Original)
	}
	b = append(b, '}')
	if service != "" {
		b = append(jsontext.Append(append(b, `,"Resource":{"service.name":`...), service), '}')
	}
	return append(b, '}', '\n')
}

// ecsNames are the fields that the Elastic Common Schema calls something else.
var ecsNames = map[string]string{
	"client.address": "source.ip", "http.request.method": "http.request.method", "http.response.status_code": "http.response.status_code",
	"url.path": "url.original", "http.response.body.size": "http.response.body.bytes", "user_agent.original": "user_agent.original",
	"http.request.header.referer": "http.request.referrer", "user.name": "user.name", "exception.type": "error.type",
	"exception.message": "error.message", "exception.stacktrace": "error.stack_trace", "thread.name": "process.thread.name",
	"process.pid": "process.pid", "host.name": "host.name", "syslog.facility": "log.syslog.facility.code",
	"syslog.appname": "log.syslog.appname", "syslog.msgid": "log.syslog.msgid",
}

func ecsTaken(key string) bool {
	switch key {
	case "@timestamp", "message", "ecs.version", "event.created", "event.original", "service.name":
		return true
	}
	return false
}

// appendECS writes the Elastic Common Schema's names, dotted.
func appendECS(b []byte, e *Event, service string) []byte {
	at := e.Time
	if at.IsZero() {
		at = e.Observed
	}
	b = appendTime(append(b, `{"@timestamp":`...), at)
	b = appendTime(append(b, `,"event.created":`...), e.Observed)
	if e.Level != "" {
		b = jsontext.Append(append(b, `,"log.level":`...), e.Level)
	}
	b = jsontext.Append(append(b, `,"message":`...), e.Body)
	b = append(b, `,"ecs.version":"8.11.0"`...)
	b = e.fields(b)
	renamed := *e
	renamed.Attrs = make([]Attr, len(e.Attrs))
	names := map[string]bool{}
	for i, a := range e.Attrs {
		if name, ok := ecsNames[a.Key]; ok {
			names[name] = true
			if own(name) { // of syslog's: ours to give
				b = jsontext.Append(appendKey(b, name), a.Value)
				a.Key = ""
			} else {
				a.Key = name
			}
		}
		renamed.Attrs[i] = a
	}
	kept := renamed.Attrs[:0]
	for _, a := range renamed.Attrs {
		if a.Key != "" {
			kept = append(kept, a)
		}
	}
	renamed.Attrs = kept
	b = renamed.attrs(b, ecsTaken)
	if e.Original != "" {
		b = jsontext.Append(appendKey(b, "event.original"), e.Original)
	}
	if service != "" {
		b = jsontext.Append(appendKey(b, "service.name"), service)
	}
	return append(b, '}', '\n')
}
