package main

import (
	"strings"
)

// bomb is a document whose entities would be a billion words, in each format that has some; elsewhere a record of a few
// characters that no value may have.
func (s *sheet) bomb() {
	switch s.format {
	case "xml":
		s.text(`<?xml version="1.0"?>` + "\n<!DOCTYPE parts [\n<!ENTITY a0 \"boom\">\n")
		for i := 1; i <= 9; i++ {
			s.text("<!ENTITY a" + string('0'+rune(i)) + ` "` + strings.Repeat("&a"+string('0'+rune(i-1))+";", 10) + "\">\n")
		}
		s.text("]>\n<p:parts xmlns:p=\"" + namespace + `"><p:part id="P-1"><p:name>&a9;</p:name></p:part></p:parts>`)
	case "json":
		s.text(`{"data":{"parts":[{"id":"P-1","name":"` + strings.Repeat(`\u0000`, 1000) + `"}]}}`)
	default:
		s.begin()
		s.text(strings.Repeat("\x00", 200) + "\n")
		s.end(1)
	}
}

const deepMax = 1_000_000

// deep is a document of a million elements in each other, or as many quotes.
func (s *sheet) deep() {
	open := map[string]string{"xml": "<p:part>", "json": "[", "jsonl": "["}[s.format]
	if open == "" {
		open = `"`
	}
	s.begin()
	piece := strings.Repeat(open, 1000)
	for range deepMax / 1000 {
		if s.text(piece); s.err != nil {
			return
		}
	}
}

// endless is a record of so many bytes without an end.
func (s *sheet) endless(bytes int) {
	s.text(map[string]string{"xml": `<p:part id="`, "json": `{"id":"`, "jsonl": `{"id":"`}[s.format])
	piece := strings.Repeat("x", 64<<10)
	for n := 0; n < bytes && s.err == nil; n += len(piece) {
		s.text(piece)
	}
}

// big is so many bytes of good records, and is their number: a name of 4 KB makes few of many bytes.
func (s *sheet) big(bytes int) (n int) {
	row, name := part(7), strings.Repeat("n", 4000)
	row.Name = name
	if s.format == "fixed" {
		row.Name = name[:24]
	}
	for sent := 0; sent < bytes && s.err == nil; n++ {
		s.part(row)
		sent += 100 + len(row.Name)
	}
	return n
}
