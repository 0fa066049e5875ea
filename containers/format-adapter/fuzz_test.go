package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// every is a source of each format, with what a source of it can say.
const every = `
schema:
  key: id
  fields:
    - {name: id, type: string}
    - {name: price, type: decimal, scale: 2}
    - {name: stock, type: integer}
    - {name: updated, type: date}
    - {name: active, type: boolean}
sources:
  - {name: csv, url: "http://x/", format: csv, separator: ";", trailer: {starts: END, count: 1},
     fields: {id: {from: id}, price: {from: price, decimal: ",", group: "."}, stock: {from: stock}, updated: {from: updated, layout: DD.MM.YYYY}, active: {from: active, "true": [J], "false": [N]}}}
  - {name: unnamed, url: "http://x/", format: csv, encoding: windows-1252, no_header: true, columns: 5,
     fields: {id: {from: "1"}, price: {from: "2", sign: trailing}, stock: {from: "3"}, updated: {from: "4"}, active: {from: "5"}}}
  - {name: xml, url: "http://x/", format: xml, record: part, fields: {id: {from: "@id"}, price: {from: price}, stock: {from: stock}, updated: {from: updated}, active: {from: active}}}
  - {name: blocks, url: "http://x/", format: fixed, encoding: cp1047, length: 17, trailer: {starts: END, at: [4, 6]},
     fields: {id: {at: [1, 3]}, price: {at: [4, 7], implied: 2, sign: overpunch}, stock: {at: [8, 10], sign: packed}, updated: {at: [11, 16], layout: YYMMDD, pivot: 50}, active: {at: [17, 17]}}}
  - {name: lines, url: "http://x/", format: fixed, fields: {id: {at: [1, 3]}, price: {at: [4, 7]}, stock: {at: [8, 10]}, updated: {at: [11, 20]}, active: {at: [21, 21]}}}
  - {name: json, url: "http://x/", format: json, path: items, fields: {id: {from: id}, price: {from: price}, stock: {from: stock}, updated: {from: updated}, active: {from: active}}}
  - {name: jsonl, url: "http://x/", format: jsonl, fields: {id: {from: id}, price: {from: price}, stock: {from: stock}, updated: {from: updated}, active: {from: active}}}
`

// FuzzReaders gives any bytes to each format's reader. It ends, with fewer records than there are bytes, and every value of
// a record is text that JSON can carry.
func FuzzReaders(f *testing.F) {
	path := filepath.Join(f.TempDir(), "every.yaml")
	if err := os.WriteFile(path, []byte(every), 0o600); err != nil {
		f.Fatal(err)
	}
	all, err := load([]string{path})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"id;price;stock;updated;active\nA;1.234,50;7;01.02.2003;J\nEND;1\n",
		"id;price\r\n\"a\"\"b\r\n;\";-0,5\r\n\"", "\xef\xbb\xbfid\n", "A,5.25-,7,2003-02-01,true\n\x80,,,,\n",
		`<x><part id="A"><price>1.50</price><stock>7</stock></part></x>`, `<!DOCTYPE x [<!ENTITY a "b">]><x><part>&a;</part></x>`,
		"\xc1\xc2\xc3\xf0\xf1\xf2\xd0\x12\x3c\x0f\xf0\xf3\xf0\xf3\xf2\xf1", "ABC1.50  7 2003-02-01t\n\n",
		`{"items":[{"id":"A","price":1.5e0,"stock":9007199254740993,"active":true},{}]}`, "{\"id\":\"\\ud800\"}\n[1]\n{", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, src := range all.Sources {
			p := &Puller{}
			p.Limits.Record = 1 << 10
			r, err := p.reader(src, bytes.NewReader(data))
			for n := 0; err == nil; n++ {
				if n > len(data)+1 {
					t.Fatalf("%s: more records than bytes", src.Name)
				}
				var raw row
				var values []value
				if raw, err = r.Next(); err == nil {
					values, err = all.Schema.values(src, raw)
				}
				if odd := (*badError)(nil); errors.As(err, &odd) {
					err = nil
				}
				for _, v := range values {
					if !utf8.ValidString(v.text) {
						t.Fatalf("%s: %q", src.Name, v.text)
					}
				}
			}
		}
	})
}
