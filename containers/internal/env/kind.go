package env

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// kind is a type that a setting may have.
type kind struct {
	name  string // as in the documentation: "duration"
	want  string // completes "not …": "a duration like 500ms or 10s"
	parse func(text string, v reflect.Value) error
}

// kindOf finds the kind of a Go type: the named types first, then whatever
// unmarshals itself from text, then by its underlying kind.
func kindOf(t reflect.Type) (kind, bool) {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return durationKind, true
	case reflect.TypeFor[netip.Prefix]():
		return networkKind, true
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return textKind(t), true
	}
	switch t.Kind() {
	case reflect.String:
		return kind{"text", "text", func(text string, v reflect.Value) error { v.SetString(text); return nil }}, true
	case reflect.Bool:
		return boolKind, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intKind, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return uintKind, true
	case reflect.Float32, reflect.Float64:
		return floatKind, true
	case reflect.Slice:
		item, ok := kindOf(t.Elem())
		if !ok || t.Elem().Kind() == reflect.Slice {
			return kind{}, false
		}
		return listKind(item), true
	}
	return kind{}, false
}

func not(want string) error { return errors.New("not " + want) }

const (
	wantBool     = "true or false"
	wantWhole    = "a whole number"
	wantUnsigned = "a whole number of 0 or more"
	wantNumber   = "a number"
	wantDuration = "a duration like 500ms or 10s"
	wantNetwork  = "a network like 10.0.0.0/8 or an address like 10.0.0.7"
)

var boolKind = kind{"bool", wantBool, func(text string, v reflect.Value) error {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return not(wantBool)
	}
	v.SetBool(b)
	return nil
}}

var intKind = kind{"int", wantWhole, func(text string, v reflect.Value) error {
	n, err := strconv.ParseInt(text, 10, v.Type().Bits())
	if err != nil {
		return numberError(err, wantWhole)
	}
	v.SetInt(n)
	return nil
}}

var uintKind = kind{"int", wantUnsigned, func(text string, v reflect.Value) error {
	n, err := strconv.ParseUint(text, 10, v.Type().Bits())
	if err != nil {
		return numberError(err, wantUnsigned)
	}
	v.SetUint(n)
	return nil
}}

// floatKind refuses NaN and infinities, which ParseFloat takes: no bound holds NaN.
var floatKind = kind{"number", wantNumber, func(text string, v reflect.Value) error {
	x, err := strconv.ParseFloat(text, v.Type().Bits())
	if err != nil {
		return numberError(err, wantNumber)
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return not(wantNumber)
	}
	v.SetFloat(x)
	return nil
}}

func numberError(err error, want string) error {
	if errors.Is(err, strconv.ErrRange) {
		return errors.New("out of range")
	}
	return not(want)
}

// durationKind refuses negative durations: no setting here means one, and
// most timers read it as "at once".
var durationKind = kind{"duration", wantDuration, func(text string, v reflect.Value) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return not(wantDuration)
	}
	v.SetInt(int64(d))
	return nil
}}

// networkKind takes a bare address as the network of that one address, and
// clears host bits: 10.1.2.3/8 means 10.0.0.0/8.
var networkKind = kind{"network", wantNetwork, func(text string, v reflect.Value) error {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return not(wantNetwork)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	v.Set(reflect.ValueOf(p.Masked()))
	return nil
}}

// described lets a type of its own name itself in the documentation. Bytes
// and Addr do; a container's own types may.
type described interface {
	SettingType() (name, want string)
}

func textKind(t reflect.Type) kind {
	k := kind{name: "text", want: "valid"}
	if d, ok := reflect.New(t).Interface().(described); ok {
		k.name, k.want = d.SettingType()
	}
	k.parse = func(text string, v reflect.Value) error {
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	return k
}

// listKind is a comma-separated list. Blanks around an item and empty items
// are dropped, so that a trailing comma does no harm.
func listKind(item kind) kind {
	return kind{"list of " + item.name, "a list, each " + item.want, func(text string, v reflect.Value) error {
		list := reflect.MakeSlice(v.Type(), 0, strings.Count(text, ",")+1)
		for part := range strings.SplitSeq(text, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			x := reflect.New(v.Type().Elem()).Elem()
			if err := item.parse(part, x); err != nil {
				return fmt.Errorf("%q: %w", part, err)
			}
			list = reflect.Append(list, x)
		}
		v.Set(list)
		return nil
	}}
}
