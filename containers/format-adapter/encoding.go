package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// charmaps are the encodings of a byte a character. What is called latin1 is windows-1252 nearly always, and the two differ
// in control characters alone: WHATWG's Encoding Standard reads it so, and so is it read here.
var charmaps = map[string]*charmap.Charmap{
	"us-ascii":     charmap.Windows1252,
	"latin1":       charmap.Windows1252,
	"iso-8859-1":   charmap.Windows1252,
	"iso-8859-2":   charmap.ISO8859_2,
	"iso-8859-5":   charmap.ISO8859_5,
	"iso-8859-15":  charmap.ISO8859_15,
	"windows-1250": charmap.Windows1250,
	"windows-1251": charmap.Windows1251,
	"windows-1252": charmap.Windows1252,
	"koi8-r":       charmap.KOI8R,
	"macintosh":    charmap.Macintosh,
	"cp437":        charmap.CodePage437,
	"cp850":        charmap.CodePage850,
	"cp037":        charmap.CodePage037,
	"cp1047":       charmap.CodePage1047,
	"cp1140":       charmap.CodePage1140,
}

// ebcdic are those whose line ends are not ASCII's.
var ebcdic = []string{"cp037", "cp1047", "cp1140"}

func isUTF(name string) bool { return strings.HasPrefix(name, "utf-") }

// known says whether an encoding's name is one of ours.
func known(name string) error {
	if _, ok := charmaps[name]; ok || slices.Contains([]string{"utf-8", "utf-16", "utf-16le", "utf-16be"}, name) {
		return nil
	}
	return fmt.Errorf("encoding %q is not known", name)
}

// decoded is r as UTF-8. A byte order mark is taken away, and believed where the encoding is one of Unicode's. Bytes that
// mean nothing come as U+FFFD, or as they are: whoever reads a value looks.
func decoded(r io.Reader, name string) io.Reader {
	if m, ok := charmaps[name]; ok {
		return transform.NewReader(r, m.NewDecoder())
	}
	var d transform.Transformer
	switch name {
	case "utf-16", "utf-16be":
		d = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder()
	case "utf-16le":
		d = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder()
	default:
		d = encoding.Nop.NewDecoder()
	}
	return transform.NewReader(r, unicode.BOMOverride(d))
}

// readable says what is wrong with the text of a value, if anything.
func readable(s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
		return bad("encoding", "bytes that mean nothing in the source's encoding")
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }); i >= 0 {
		return bad("control", "a control character, U+%04X", s[i])
	}
	return nil
}
