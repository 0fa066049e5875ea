package main

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// Part is a fact that all feeds tell. Every feed of the same size tells the same.
type Part struct {
	ID      string
	Name    string
	Cents   int64
	Stock   int64
	Updated time.Time
	Active  bool
}

var names = []string{"Zahnrad Größe 7", "Clé à molette", "Señal, Ø 12 mm", "Niño \"B\" – no, Ñ", "Façade & Co <1>", "Bolt; M8", "Ångström-Lineal"}

// part is the n-th of the facts, from 1. Those whose values are hard come early.
func part(n int) Part {
	p := Part{
		ID: fmt.Sprintf("P-%06d", n), Name: strings.ReplaceAll(names[n%len(names)], "–", "-"),
		Cents: int64(n)*1013%2_000_000 - 500, Stock: int64(n) * 7919 % 100_000,
		Updated: time.Date(2001+n%25, time.Month(1+n%12), 1+n%28, 0, 0, 0, 0, time.UTC), Active: n%3 != 0,
	}
	switch n {
	case 1:
		p.Stock = 9007199254740993 // the first that is not a number of floating point
	case 2:
		p.Cents = 30 // 0.1 + 0.2
	case 3:
		p.Cents = -1234
	case 4:
		p.Cents = 0
	case 5:
		p.Cents = 900719925474099301
	}
	return p
}

// Feed serves the facts in one format.
type Feed struct {
	Format, Encoding string
	Records          int
	Faults           *Faults
	Metrics          *metrics
}

// encodings that a feed can be asked for.
var encodings = map[string]encoding.Encoding{
	"utf-8":        encoding.Nop,
	"utf-8-bom":    unicode.UTF8BOM,
	"utf-16le-bom": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"utf-16be-bom": unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf-16le":     unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
	"iso-8859-1":   charmap.ISO8859_1,
	"windows-1252": charmap.Windows1252,
	"cp037":        charmap.CodePage037,
	"cp1047":       charmap.CodePage1047,
}

var formats = []string{"csv", "xml", "fixed", "json", "jsonl"}

// ServeHTTP is GET /feed, with ?format= and ?encoding= in place of the feed's own.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format, name := r.FormValue("format"), r.FormValue("encoding")
	if format == "" {
		format = f.Format
	}
	if name == "" {
		if name = f.Encoding; format != f.Format {
			name = "utf-8"
		}
	}
	enc, ok := encodings[name]
	if !ok || !slices.Contains(formats, format) {
		http.Error(w, "no such format or encoding", http.StatusBadRequest)
		return
	}
	mode, change := f.Faults.take()
	f.Metrics.served.WithLabelValues(format, mode).Inc()
	switch mode {
	case "error":
		http.Error(w, "the legacy system is out to lunch", http.StatusInternalServerError)
		return
	case "hang":
		select {
		case <-change:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", map[string]string{"csv": "text/csv", "xml": "application/xml", "json": "application/json"}[format])
	raw := &counted{w: w}
	out := bufio.NewWriterSize(raw, 32<<10)
	s := &sheet{format: format, label: name, enc: enc.NewEncoder(), w: out}
	s.flush = func() { out.Flush(); http.NewResponseController(w).Flush() }
	f.write(r, s, mode, change)
	s.flush()
	f.Metrics.bytes.Add(float64(raw.n))
	if mode == "cut" {
		panic(http.ErrAbortHandler)
	}
}

type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// bigBytes is how much the fault big sends, and how long the line is that has no end.
const bigBytes = 1 << 30

// slowFirst are the records that the fault slow sends at once; the rest comes after the pause, or when the fault ends.
const (
	slowFirst = 10
	slowPause = 1500 * time.Millisecond
)

// write writes the facts, or what the fault makes of them.
func (f *Feed) write(r *http.Request, s *sheet, mode string, change <-chan struct{}) {
	switch mode {
	case "bomb":
		s.bomb()
		return
	case "deep":
		s.deep()
		return
	}
	n := f.Records
	if mode == "half" || mode == "cut" {
		n /= 2
	}
	s.begin()
	if mode == "line" {
		s.endless(bigBytes)
		return
	}
	if mode == "big" {
		n = s.big(bigBytes)
	}
	for i := 1; i <= n && mode != "big"; i++ {
		if mode == "slow" && i == slowFirst+1 {
			s.flush()
			select {
			case <-change:
			case <-time.After(slowPause):
			case <-r.Context().Done():
				return
			}
		}
		if mode == "bad" && i%10 == 0 {
			s.bad(i / 10)
		}
		s.part(part(i))
	}
	if mode == "half" || mode == "cut" {
		return
	}
	if mode == "bad" {
		n += f.Records / 10
	}
	s.end(n)
}

// sheet writes records in one format and encoding.
type sheet struct {
	format, label string
	enc           *encoding.Encoder
	w             *bufio.Writer
	flush         func()
	begun         bool // something was written, and with it a mark
	first         bool // the next record is the first
	err           error
}

// text writes text in the sheet's encoding. An encoder is kept: it writes a byte order mark once.
func (s *sheet) text(t string) {
	b, err := s.enc.Bytes([]byte(t))
	if err != nil && s.err == nil {
		s.err = err
	}
	if s.begun { // Bytes begins anew each time
		for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
			if strings.HasSuffix(s.label, "-bom") {
				b = bytes.TrimPrefix(b, []byte(mark))
			}
		}
	}
	s.begun = true
	if _, err := s.w.Write(b); err != nil && s.err == nil {
		s.err = err
	}
}

const namespace = "urn:legacy:parts"

func (s *sheet) begin() {
	switch s.format {
	case "csv":
		s.text("ARTNR;BEZEICHNUNG;PREIS;BESTAND;DATUM;AKTIV\r\n")
	case "xml":
		label := strings.TrimSuffix(s.label, "-bom")
		if strings.HasPrefix(label, "utf-16") {
			label = "utf-16"
		}
		s.text(`<?xml version="1.0" encoding="` + label + `"?>` + "\n" + `<p:parts xmlns:p="` + namespace + `">` + "\n")
	case "json":
		s.text(`{"total": 1, "data": {"parts": [` + "\n")
	}
	s.first = true
}

// part writes one record.
func (s *sheet) part(p Part) {
	money := fmt.Sprintf("%d.%02d", abs(p.Cents)/100, abs(p.Cents)%100)
	if p.Cents < 0 {
		money = "-" + money
	}
	switch s.format {
	case "csv":
		name := p.Name
		if strings.ContainsAny(name, ";\"") {
			name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
		yes := map[bool]string{true: "J", false: "N"}[p.Active]
		s.text(fmt.Sprintf("%s;%s;%s;%d;%s;%s\r\n", p.ID, name, strings.Replace(money, ".", ",", 1), p.Stock, p.Updated.Format("02.01.2006"), yes))
	case "xml":
		var name strings.Builder
		xml.EscapeText(&name, []byte(p.Name))
		s.text(fmt.Sprintf(`<p:part id="%s" active="%t"><p:name>%s</p:name><p:price currency="EUR">%s</p:price><p:stock>%d</p:stock><p:updated>%s</p:updated></p:part>`+"\n",
			p.ID, p.Active, name.String(), money, p.Stock, p.Updated.Format(time.DateOnly)))
	case "fixed":
		s.text(pad(p.ID, 10) + pad(p.Name, 24) + zoned(p.Cents, 19) + fmt.Sprintf("%017d", p.Stock) + p.Updated.Format("20060102") + map[bool]string{true: "1", false: "0"}[p.Active])
		s.fixedEnd()
	case "json":
		if !s.first {
			s.text(",\n")
		}
		s.text(object(p, money))
	case "jsonl":
		s.text(object(p, money) + "\n")
	}
	s.first = false
}

func object(p Part, money string) string {
	return fmt.Sprintf(`{"id":%s,"name":%s,"price":{"amount":%s,"currency":"EUR"},"stock":%d,"updated":"%s","active":%t}`,
		quoted(p.ID), quoted(p.Name), money, p.Stock, p.Updated.Format(time.DateOnly), p.Active)
}

func quoted(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// fixedWidth is the length of a fixed record.
const fixedWidth = 10 + 24 + 19 + 17 + 8 + 1

// fixedEnd ends a record where the encoding has line ends: mainframes have blocks.
func (s *sheet) fixedEnd() {
	if !strings.HasPrefix(s.label, "cp") {
		s.text("\n")
	}
}

func pad(s string, n int) string {
	r := []rune(s)
	return string(r[:min(len(r), n)]) + strings.Repeat(" ", max(0, n-len(r)))
}

// zoned is a number with its sign in its last digit, as COBOL writes S9(n).
func zoned(n int64, width int) string {
	digits := fmt.Sprintf("%0*d", width, abs(n))
	last := digits[width-1] - '0'
	if n < 0 {
		return digits[:width-1] + string("}JKLMNOPQR"[last])
	}
	return digits[:width-1] + string("{ABCDEFGHI"[last])
}

func abs(n int64) int64 { return max(n, -n) }

// end writes the trailer of those formats that have one by agreement, and the end of those that have one by themselves.
func (s *sheet) end(n int) {
	switch s.format {
	case "csv":
		s.text(fmt.Sprintf("ENDE;%d\r\n", n))
	case "xml":
		s.text("</p:parts>\n")
	case "fixed":
		s.text(pad(fmt.Sprintf("TRAILER   %08d", n), fixedWidth))
		s.fixedEnd()
	case "json":
		s.text("\n]}}\n")
	}
}

// bad writes the n-th bad record, of several kinds in turn.
func (s *sheet) bad(n int) {
	kind := n % 4
	switch s.format {
	case "csv":
		s.text(fmt.Sprintf([]string{
			"BAD-%d;x;1_000,0;1;01.01.2020;J\r\n", // a number as programs write it
			"BAD-%d;x;1,00\r\n",                   // columns are missing
			"BAD-%d;x;1,00;1;31.02.2020;J\r\n",    // no day
			"BAD-%d;\"x;1,00;1;01.01.2020;J\r\n",  // a quote that swallows what follows
		}[kind], n))
	case "xml":
		s.text(fmt.Sprintf([]string{
			`<p:part id="BAD-%d"><p:name>x</p:name><p:price>Inf</p:price></p:part>` + "\n",
			`<p:part><p:name>BAD-%d</p:name><p:price>1.00</p:price></p:part>` + "\n", // no key
			`<p:part id="BAD-%d"><p:price>1.00</p:price><p:price>2.00</p:price></p:part>` + "\n",
			`<p:part id="BAD-%d" active="perhaps"><p:name>x</p:name></p:part>` + "\n",
		}[kind], n))
	case "fixed":
		id := pad(fmt.Sprintf("BAD-%d", n), 10)
		s.text([]string{
			id + pad("x", 24) + strings.Repeat("9", 18) + "Z" + strings.Repeat("0", 17) + "202001011",
			pad("", 10) + pad("x", 24) + zoned(1, 19) + strings.Repeat("0", 17) + "202001011", // no key
			id + pad("x", 24) + zoned(1, 19) + strings.Repeat("0", 17) + "202013011",          // no month
			id + pad("x", 24) + zoned(1, 19) + strings.Repeat("0", 17) + "202001017",          // neither yes nor no
		}[kind])
		s.fixedEnd()
	case "json":
		s.text(",\n" + fmt.Sprintf(`{"id":"BAD-%d","id":"twice"}`, n))
	case "jsonl":
		s.text(fmt.Sprintf(`{"id":"BAD-%d"`, n) + "\n")
	}
}
