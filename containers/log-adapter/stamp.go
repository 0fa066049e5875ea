package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Clock turns the times of logs into moments.
type Clock struct {
	Zone *time.Location // of times that have none
	Now  func() time.Time

	last     string // the second that was read last: most lines share it with the one before
	lastTime time.Time
}

// abbreviations are those that RFC 5322 defines, and others that mean one thing. Any other name says nothing: IST is in India, in
// Israel and in Ireland. time.Parse would take each for UTC.
var abbreviations = map[string]int{
	"Z": 0, "UT": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
	"WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "AEST": 10, "AEDT": 11,
}

// zone takes a zone from the front of a text: Z, +02:00, +0200, +02, or a known name, after a space or not.
func zone(s string) (loc *time.Location, name, rest string, ok bool) {
	t := strings.TrimPrefix(s, " ")
	if t == "" {
		return nil, "", s, false
	}
	if t[0] == '+' || t[0] == '-' {
		d := t[1:]
		h, okh := digits(d, 2)
		if !okh || h > 15 {
			return nil, "", s, false
		}
		n, m := 3, 0
		for _, at := range []int{2, 3} {
			if at == 3 && (len(d) < 3 || d[2] != ':') || len(d) < at+2 {
				continue
			}
			if v, ok := digits(d[at:], 2); ok && v < 60 {
				m, n = v, 1+at+2
				break
			}
		}
		if len(t) > n && (t[n] >= '0' && t[n] <= '9') {
			return nil, "", s, false
		}
		off := h*3600 + m*60
		if t[0] == '-' {
			off = -off
		}
		return time.FixedZone("", off), t[:n], t[n:], true
	}
	n := 0
	for n < len(t) && (t[n] >= 'A' && t[n] <= 'Z' || n == 0 && t[n] == 'z') {
		n++
	}
	if h, known := abbreviations[strings.ToUpper(t[:n])]; n > 0 && known && (n == len(t) || !word(t[n])) {
		return time.FixedZone(t[:n], h*3600), t[:n], t[n:], true
	}
	return nil, "", s, false
}

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func digits(s string, n int) (v int, ok bool) {
	if len(s) < n {
		return 0, false
	}
	for i := range n {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		v = 10*v + int(s[i]-'0')
	}
	return v, true
}

// wall is a time as a clock on a wall shows it.
type wall struct{ y, mo, d, h, mi, s, ns int }

var errNoTime = errors.New("no such time")

// moment is when that was. A leap second is the first one after it. What is no time is an error, and not the time that
// time.Date would make of it.
func (c *Clock) moment(w wall, loc *time.Location) (t time.Time, ambiguous bool, err error) {
	leap := w.s == 60
	if leap {
		w.s = 59
	}
	if w.mo < 1 || w.mo > 12 || w.d < 1 || w.h > 23 || w.mi > 59 || w.s > 59 || w.d > daysIn(w.y, w.mo) {
		return t, false, errNoTime
	}
	given := loc != nil
	if !given {
		loc = c.Zone
	}
	t = time.Date(w.y, time.Month(w.mo), w.d, w.h, w.mi, w.s, w.ns, loc)
	if !given && loc != time.UTC {
		ambiguous = t.Hour() != w.h || t.Minute() != w.mi // in the gap
		for _, d := range []time.Duration{-time.Hour, time.Hour, -30 * time.Minute, 30 * time.Minute} {
			u := t.Add(d)
			ambiguous = ambiguous || u.Hour() == t.Hour() && u.Minute() == t.Minute() && u.Day() == t.Day()
		}
	}
	if leap {
		t = t.Add(time.Second)
	}
	return t.UTC(), ambiguous, nil
}

func daysIn(y, mo int) int { return time.Date(y, time.Month(mo+1), 0, 0, 0, 0, 0, time.UTC).Day() }

// nearest gives a time without a year the one that brings it nearest to now: a line of 31 December that is read on 1 January
// is of last year.
func (c *Clock) nearest(w wall, loc *time.Location) (t time.Time, ambiguous bool, err error) {
	now, best := c.Now(), time.Duration(-1)
	err = errNoTime
	for y := now.Year() - 1; y <= now.Year()+1; y++ {
		w.y = y
		u, a, e := c.moment(w, loc)
		if d := u.Sub(now).Abs(); e == nil && (best < 0 || d < best) {
			t, ambiguous, err, best = u, a, nil, d
		}
	}
	if err != nil && w.mo == 2 && w.d == 29 { // of the last year that had one
		for w.y = now.Year(); w.y > now.Year()-9 && err != nil; w.y-- {
			t, ambiguous, err = c.moment(w, loc)
		}
	}
	return t, ambiguous, err
}

// clockTime takes hh:mm:ss and a fraction after a dot or comma.
func clockTime(s string, w *wall) (rest string, ok bool) {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' {
		return s, false
	}
	var a, b, c bool
	w.h, a = digits(s, 2)
	w.mi, b = digits(s[3:], 2)
	w.s, c = digits(s[6:], 2)
	if !a || !b || !c {
		return s, false
	}
	s = s[8:]
	if len(s) > 1 && (s[0] == '.' || s[0] == ',') && s[1] >= '0' && s[1] <= '9' {
		n, unit := 1, 100_000_000
		for ; n < len(s) && s[n] >= '0' && s[n] <= '9'; n++ {
			w.ns += int(s[n]-'0') * unit
			unit /= 10
		}
		s = s[n:]
	}
	return s, true
}

// iso takes 2006-01-02T15:04:05.999+02:00 and its kin from the front of a text: a space or t for the T, slashes, a comma, and the
// zone may be missing.
func (c *Clock) iso(s string, e *Event) (rest string, ok bool) {
	if len(s) < 19 || s[4] != '-' && s[4] != '/' || s[7] != s[4] || s[10] != 'T' && s[10] != 't' && s[10] != ' ' {
		return s, false
	}
	var w wall
	var y, m, d bool
	w.y, y = digits(s, 4)
	w.mo, m = digits(s[5:], 2)
	w.d, d = digits(s[8:], 2)
	rest, ok = clockTime(s[11:], &w)
	if !y || !m || !d || !ok {
		return s, false
	}
	loc, name, after, has := zone(rest)
	if has {
		rest = after
	} else if len(rest) > 0 && word(rest[0]) && rest[0] != '-' {
		return s, false
	}
	return rest, c.set(e, w, loc, name, false) == nil
}

// set gives the event its time.
func (c *Clock) set(e *Event, w wall, loc *time.Location, name string, noYear bool) (err error) {
	find := c.moment
	if noYear {
		find = c.nearest
	}
	t, ambiguous, err := find(w, loc)
	if err == nil {
		e.Time, e.Zone, e.Ambiguous = t, name, ambiguous
	}
	return err
}

const monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"

func month(s string) int {
	if len(s) < 3 {
		return 0
	}
	if i := strings.Index(monthNames, s[:3]); i >= 0 && i%3 == 0 {
		return i/3 + 1
	}
	return 0
}

// access takes the 10/Oct/2000:13:55:36 -0700 of access logs.
func (c *Clock) access(s string, e *Event) bool {
	if s == c.last && s != "" {
		e.Time, e.Zone = c.lastTime, s[21:]
		return true
	}
	if len(s) != 26 || s[2] != '/' || s[6] != '/' || s[11] != ':' || s[20] != ' ' {
		return false
	}
	var w wall
	var d, y bool
	w.d, d = digits(s, 2)
	w.mo = month(s[3:])
	w.y, y = digits(s[7:], 4)
	if rest, ok := clockTime(s[12:], &w); !ok || !d || !y || len(rest) != 6 {
		return false
	}
	loc, name, rest, ok := zone(s[20:])
	if !ok || rest != "" || c.set(e, w, loc, name, false) != nil {
		return false
	}
	c.last, c.lastTime = strings.Clone(s), e.Time
	return true
}

// stamp takes the Oct 11 22:14:15 of RFC 3164, its day padded with a space, and what is a year or not after it.
func (c *Clock) stamp(s string, e *Event) (rest string, ok bool) {
	if len(s) < 15 || s[3] != ' ' || s[6] != ' ' {
		return s, false
	}
	w := wall{mo: month(s)}
	day := strings.TrimPrefix(s[4:6], " ")
	var d bool
	if w.d, d = digits(day, len(day)); !d || len(day) == 0 || w.mo == 0 {
		return s, false
	}
	if rest, ok = clockTime(s[7:], &w); !ok {
		return s, false
	}
	if y, has := digits(strings.TrimPrefix(rest, " "), 4); has && strings.HasPrefix(rest, " ") && y > 1969 && y < 2200 &&
		(len(rest) == 5 || rest[5] == ' ') {
		w.y = y
		return rest[5:], c.set(e, w, nil, "", false) == nil
	}
	return rest, c.set(e, w, nil, "", true) == nil
}

// any is the time in a field: of RFC 3339 and its kin, or seconds, milliseconds, microseconds or nanoseconds since 1970.
func (c *Clock) any(s string, e *Event) error {
	if rest, ok := c.iso(s, e); ok && rest == "" {
		return nil
	}
	if c.access(s, e) {
		return nil
	}
	whole, frac, _ := strings.Cut(s, ".")
	n, ok := digits(whole, len(whole))
	if !ok || n < 0 || len(whole) < 9 || len(whole) > 19 {
		return fmt.Errorf("time %.40q is of no known form", s)
	}
	var t time.Time
	switch {
	case len(whole) < 12:
		ns := 0
		if frac != "" {
			f := (frac + "000000000")[:9]
			if ns, ok = digits(f, 9); !ok {
				return fmt.Errorf("time %.40q is of no known form", s)
			}
		}
		t = time.Unix(int64(n), int64(ns))
	case len(whole) < 15:
		t = time.UnixMilli(int64(n))
	case len(whole) < 18:
		t = time.UnixMicro(int64(n))
	default:
		t = time.Unix(0, int64(n))
	}
	e.Time, e.Zone, e.Ambiguous = t.UTC(), "Z", false
	return nil
}
