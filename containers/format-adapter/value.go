package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"distlab/containers/internal/jsontext"
)

// value is one of a record, in the one form that all sources' values have: a decimal with all its places, a date as
// 2006-01-02. Two values are equal where their texts are.
type value struct {
	null bool
	text string
}

// overpunch are the last digits of a signed number in zoned decimal: digit and sign in one character.
var overpunch = func() map[byte]string {
	m := map[byte]string{}
	for i := range 10 {
		m["{ABCDEFGHI"[i]] = "+" + strconv.Itoa(i)
		m["}JKLMNOPQR"[i]] = "-" + strconv.Itoa(i)
	}
	return m
}()

// digitsMax is what a decimal of any database has.
const digitsMax = 38

// value turns a source's text into a field's value.
func (f *Field) value(from *From, text string, there bool) (value, error) {
	if err := readable(text); err != nil {
		return value{}, err
	}
	if f.Type != "string" {
		text = strings.TrimSpace(text)
	}
	for _, m := range from.Missing {
		if text == m {
			text = ""
		}
	}
	if !there || text == "" {
		switch {
		case f.Default != nil:
			return value{text: *f.Default}, nil
		case f.Required:
			return value{}, bad("missing", "it is required, and missing")
		}
		return value{null: true}, nil
	}
	v, err := f.read(from, text)
	return value{text: v}, err
}

func (f *Field) read(from *From, text string) (string, error) {
	switch f.Type {
	case "decimal":
		return decimal(from, text, f.Scale)
	case "integer":
		s, err := decimal(from, text, 0)
		if err != nil {
			return "", err
		}
		if _, err := strconv.ParseInt(s, 10, 64); err != nil {
			return "", bad("number", "%q does not fit in 64 bits", clip(text))
		}
		return s, nil
	case "date":
		return date(from, text)
	case "boolean":
		for _, yes := range from.True {
			if text == yes {
				return "true", nil
			}
		}
		for _, no := range from.False {
			if text == no {
				return "false", nil
			}
		}
		return "", bad("boolean", "%q is neither true nor false here", clip(text))
	}
	if n := utf8.RuneCountInString(text); f.Max > 0 && n > f.Max {
		return "", bad("long", "%d characters, want at most %d", n, f.Max)
	}
	return text, nil
}

// decimal reads a number exactly: signs, a mark and groups as the source has them, an implied mark, an overpunched sign. No
// floating point is on the way, and none of the spellings that programming languages add: 1e3, 0x1F, 1_000, Inf.
func decimal(from *From, text string, scale int) (string, error) {
	odd := func() (string, error) { return "", bad("number", "%q is no number here", clip(text)) }
	s, minus := text, false
	if from.Sign == "overpunch" {
		if p, ok := overpunch[s[len(s)-1]]; ok {
			s, minus = s[:len(s)-1]+p[1:], p[0] == '-'
		}
	} else if from.Sign == "trailing" && (s[len(s)-1] == '-' || s[len(s)-1] == '+') {
		minus, s = s[len(s)-1] == '-', s[:len(s)-1]
	} else if s[0] == '-' || s[0] == '+' {
		minus, s = s[0] == '-', s[1:]
	}
	whole, fraction, marked := strings.Cut(s, from.mark())
	if from.Group != "" && strings.Contains(whole, from.Group) {
		groups := strings.Split(whole, from.Group)
		for i, g := range groups {
			if i > 0 && len(g) != 3 || i == 0 && (g == "" || len(g) > 3) {
				return odd()
			}
		}
		whole = strings.Join(groups, "")
	}
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	if !digits(whole) || !digits(fraction) || whole == "" || marked && fraction == "" {
		return odd()
	}
	if n := from.Implied; n > 0 {
		if marked {
			return odd()
		}
		whole = strings.Repeat("0", max(0, n+1-len(whole))) + whole
		whole, fraction = whole[:len(whole)-n], whole[len(whole)-n:]
	}
	whole = strings.TrimLeft(whole, "0")
	if over := fraction[min(scale, len(fraction)):]; strings.Trim(over, "0") != "" {
		return "", bad("number", "%q has more than %d decimal places", clip(text), scale)
	}
	fraction = fraction[:min(scale, len(fraction))]
	fraction += strings.Repeat("0", scale-len(fraction))
	if len(whole)+len(fraction) > digitsMax {
		return "", bad("number", "%q has more than %d digits", clip(text), digitsMax)
	}
	out := "0"
	if whole != "" {
		out = whole
	}
	if scale > 0 {
		out += "." + fraction
	}
	if minus && strings.Trim(out, "0.") != "" { // there is one zero
		out = "-" + out
	}
	return out, nil
}

func (f *From) mark() string {
	if f.Decimal == "" {
		return "."
	}
	return f.Decimal
}

// date reads one by its layout. A year of two digits is in the hundred years that begin with pivot.
func date(from *From, text string) (string, error) {
	t, err := time.Parse(from.layout, text)
	if err != nil {
		return "", bad("date", "%q is no date like %s", clip(text), from.Layout)
	}
	if from.short {
		year := from.Pivot - from.Pivot%100 + t.Year()%100
		if year < from.Pivot {
			year += 100
		}
		if moved := time.Date(year, t.Month(), t.Day(), 0, 0, 0, 0, time.UTC); moved.Day() == t.Day() {
			t = moved
		} else {
			return "", bad("date", "%q is no day of %d", clip(text), year)
		}
	}
	return t.Format(time.DateOnly), nil
}

// layoutOf turns YYYY-MM-DD into Go's.
func layoutOf(text string) (layout string, short bool, err error) {
	short = !strings.Contains(text, "YYYY")
	layout = strings.NewReplacer("YYYY", "2006", "YY", "06", "MM", "01", "DD", "02").Replace(text)
	if !strings.Contains(layout, "06") || !strings.Contains(layout, "01") || !strings.Contains(layout, "02") {
		return "", false, fmt.Errorf("layout %q: want YYYY or YY, MM and DD in it", text)
	}
	return layout, short, nil
}

// appendRecord appends a record as a JSON object, its fields in the schema's order. float writes decimals as many do, as
// numbers of binary floating point.
func (s *Schema) appendRecord(b []byte, values []value, float bool) []byte {
	b = append(b, '{')
	for i, f := range s.Fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(jsontext.Append(b, f.Name), ':')
		v := values[i]
		switch {
		case v.null:
			b = append(b, "null"...)
		case float && (f.Type == "decimal" || f.Type == "integer"):
			n, _ := strconv.ParseFloat(v.text, 64)
			b = strconv.AppendFloat(b, n, 'f', -1, 64)
		case f.Type == "integer" || f.Type == "boolean":
			b = append(b, v.text...)
		default:
			b = jsontext.Append(b, v.text)
		}
	}
	return append(b, '}')
}
