package main

import (
	"net/netip"
	"strings"

	"distlab/containers/internal/forward"

	"distlab/containers/internal/balance"
)

// Override lets testers name their arm.
type Override struct {
	Header   string // in canonical form; "": none
	Cookie   string
	Query    string
	Token    string         // must follow the name, after a colon; "": none
	Networks []netip.Prefix // that may; none: all
}

// find is the arm that a tester names, -1: nobody does, or may.
func (o *Override) find(t *set, f *Facts) int {
	value := ""
	if o.Header != "" {
		value = f.Header.Get(o.Header)
	}
	if value == "" && o.Query != "" {
		value = balance.Argument(f.RawQuery, o.Query)
	}
	if value == "" && o.Cookie != "" {
		value = balance.Cookie(f.Header.Get("Cookie"), o.Cookie)
	}
	if value == "" || !o.mayUse(f.Client) {
		return -1
	}
	name, token, _ := strings.Cut(value, ":")
	if len(token) != len(o.Token) || !equal(token, o.Token) {
		return -1
	}
	i := t.index(name)
	if i >= 0 && t.arms[i].spec.Down {
		return -1
	}
	return i
}

func (o *Override) mayUse(client netip.Addr) bool {
	for _, p := range o.Networks {
		if client.IsValid() && p.Contains(client) {
			return true
		}
	}
	return len(o.Networks) == 0
}

// strip takes out of a request what is the splitter's alone: the header
// always, and where there is a token, whatever may hold it.
func (o *Override) strip(x *forward.Exchange) {
	out := x.Out
	if o.Header != "" {
		delete(out.Header, o.Header)
	}
	if o.Token == "" {
		return
	}
	if o.Query != "" {
		if path, query, ok := strings.Cut(x.Target, "?"); ok {
			x.Target = path + "?" + without(query, "&", o.Query, strings.EqualFold)
		}
	}
	if cookies := out.Header["Cookie"]; o.Cookie != "" && len(cookies) > 0 {
		var kept []string
		for _, c := range cookies {
			if c = without(c, ";", o.Cookie, func(a, b string) bool { return a == b }); strings.TrimSpace(c) != "" {
				kept = append(kept, strings.TrimSpace(c))
			}
		}
		if kept == nil {
			delete(out.Header, "Cookie")
		} else {
			out.Header["Cookie"] = kept
		}
	}
}

// without is a list of name=value without those of one name; the rest is as it
// was.
func without(list, separator, name string, same func(a, b string) bool) string {
	found := false
	var kept []string
	for part := range strings.SplitSeq(list, separator) {
		key, _, _ := strings.Cut(strings.TrimLeft(part, " \t"), "=")
		if same(key, name) {
			found = true
			continue
		}
		kept = append(kept, part)
	}
	if !found {
		return list
	}
	return strings.Join(kept, separator)
}
