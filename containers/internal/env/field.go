package env

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// field is one setting of a config struct: what its tags say and where its
// value goes.
type field struct {
	Setting
	kind     kind
	value    reflect.Value
	min, max reflect.Value // invalid where the tag is absent
}

// fields lists a struct's settings in the order of their declaration, those
// of embedded structs last. It panics on a mistake in the tags.
func fields(v reflect.Value) []*field {
	list := walk(v)
	seen := map[string]bool{}
	for _, f := range list {
		for _, name := range []string{f.Name, f.Name + "_FILE"} {
			if seen[name] {
				panic(fmt.Sprintf("env: %s declared twice in %s", name, v.Type()))
			}
			seen[name] = f.Secret || name == f.Name
		}
	}
	return list
}

func walk(v reflect.Value) []*field {
	var own, embedded []*field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		name, tagged := sf.Tag.Lookup("env")
		switch {
		case tagged:
			own = append(own, newField(name, sf, v.Field(i)))
		case sf.Anonymous && sf.Type.Kind() == reflect.Struct:
			embedded = append(embedded, walk(v.Field(i))...)
		}
	}
	return append(own, embedded...)
}

func newField(name string, sf reflect.StructField, v reflect.Value) *field {
	broken := func(format string, args ...any) {
		panic(fmt.Sprintf("env: field %s (%s): %s", sf.Name, name, fmt.Sprintf(format, args...)))
	}
	if name == "" || strings.ToUpper(name) != name || strings.ContainsAny(name, " =-") {
		broken("not a variable name like PROXY_PORT")
	}
	if !sf.IsExported() {
		broken("not exported")
	}
	k, ok := kindOf(sf.Type)
	if !ok {
		broken("type %s cannot be a setting", sf.Type)
	}
	f := &field{kind: k, value: v}
	def, optional := sf.Tag.Lookup("default")
	f.Setting = Setting{
		Name:     name,
		Type:     k.name,
		Default:  def,
		Required: !optional,
		Secret:   sf.Tag.Get("secret") == "true",
		Min:      sf.Tag.Get("min"),
		Max:      sf.Tag.Get("max"),
		Help:     sf.Tag.Get("help"),
	}
	if f.Help == "" {
		broken("no help")
	}
	if oneof := sf.Tag.Get("oneof"); oneof != "" {
		f.OneOf = strings.Split(oneof, "|")
	}
	bound := func(text string) reflect.Value {
		if text == "" {
			return reflect.Value{}
		}
		b := reflect.New(sf.Type).Elem()
		if !ordered(b) || k.parse(text, b) != nil {
			broken("bound %q does not fit type %s", text, sf.Type)
		}
		return b
	}
	f.min, f.max = bound(f.Min), bound(f.Max)
	if optional {
		if err := f.set(def); err != nil {
			broken("default %q: %v", def, err)
		}
	}
	return f
}

// set parses text into the field. Empty text is the zero value: it comes here
// only as the default of an optional setting.
func (f *field) set(text string) error {
	if text == "" {
		f.value.SetZero()
		return nil
	}
	if f.OneOf != nil && !slices.Contains(f.OneOf, text) {
		return fmt.Errorf("not one of %s", strings.Join(f.OneOf, ", "))
	}
	// Into a fresh value: a parser that stops half way leaves nothing behind.
	v := reflect.New(f.value.Type()).Elem()
	if err := f.kind.parse(text, v); err != nil {
		return err
	}
	if err := f.inBounds(v); err != nil {
		return err
	}
	f.value.Set(v)
	return nil
}

func (f *field) inBounds(v reflect.Value) error {
	low := f.min.IsValid() && compare(v, f.min) < 0
	high := f.max.IsValid() && compare(v, f.max) > 0
	switch {
	case !low && !high:
		return nil
	case f.min.IsValid() && f.max.IsValid():
		return fmt.Errorf("not between %s and %s", f.Min, f.Max)
	case low:
		return fmt.Errorf("less than the minimum, %s", f.Min)
	default:
		return errors.New("more than the maximum, " + f.Max)
	}
}

func ordered(v reflect.Value) bool { return v.CanInt() || v.CanUint() || v.CanFloat() }

// compare orders two values of one ordered type.
func compare(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	default:
		return cmp.Compare(a.Float(), b.Float())
	}
}
