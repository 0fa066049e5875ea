package main

import (
	"encoding/base64"
	"path/filepath"
	"strconv"
	"time"
	"unicode/utf8"

	"distlab/containers/internal/follow"
	"distlab/containers/internal/jsontext"
)

// appendOTLP adds records as one ExportLogsServiceRequest in OTLP's JSON encoding: a resource with the lines of one file
// after the other. The attributes are those of OpenTelemetry's semantic conventions for log files; log.record.uid is what a
// receiver may drop repeats by.
func appendOTLP(b []byte, records []follow.Record, host, service string, now time.Time) []byte {
	b = append(b, `{"resourceLogs":[{"resource":{"attributes":[`...)
	sep := false
	for _, a := range [][2]string{{"service.name", service}, {"host.name", host}} {
		if a[1] != "" {
			b = appendAttribute(b, a[0], a[1], sep)
			sep = true
		}
	}
	b = append(b, `]},"scopeLogs":[{"scope":{"name":"log-shipper"},"logRecords":[`...)
	at := strconv.FormatInt(now.UnixNano(), 10)
	for i := range records {
		r := &records[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"observedTimeUnixNano":"`...)
		b = append(b, at...)
		b = append(b, `","body":{`...)
		if utf8.Valid(r.Text) {
			b = append(b, `"stringValue":`...)
			b = jsontext.Append(b, r.Text)
		} else {
			b = append(b, `"bytesValue":"`...)
			b = base64.StdEncoding.AppendEncode(b, r.Text)
			b = append(b, '"')
		}
		b = append(b, `},"attributes":[`...)
		b = appendAttribute(b, "log.file.name", filepath.Base(r.Source), false)
		b = appendAttribute(b, "log.file.path", r.Source, true)
		b = appendAttribute(b, "log.record.uid", r.Stream+":"+strconv.FormatInt(r.Offset, 10), true)
		if r.Truncated {
			b = append(b, `,{"key":"log.record.truncated","value":{"boolValue":true}}`...)
		}
		if r.Partial {
			b = append(b, `,{"key":"log.record.partial","value":{"boolValue":true}}`...)
		}
		b = append(b, `]}`...)
	}
	return append(b, `]}]}]}`...)
}

func appendAttribute(b []byte, key, value string, sep bool) []byte {
	if sep {
		b = append(b, ',')
	}
	b = append(b, `{"key":"`...)
	b = append(b, key...)
	b = append(b, `","value":{"stringValue":`...)
	b = jsontext.Append(b, value)
	return append(b, `}}`...)
}
