package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Instance is one server of a service, as the registry has it.
type Instance struct {
	ID       string            `json:"id"`
	Address  string            `json:"address"` // host:port
	Labels   map[string]string `json:"labels,omitempty"`
	Priority int               `json:"priority,omitempty"` // the lowest is used while one of it can be (RFC 2782)
	Weight   int               `json:"weight,omitempty"`   // among those of a priority; 0 is little where others have more
}

const (
	mostInstances = 1000 // of a service
	mostText      = 253  // bytes of an ID, a label or a host's name
	mostLabels    = 64
)

// ParseInstance reads a registration: a JSON object with an address and labels. Fields that are not known are for others.
func ParseInstance(id, text string) (Instance, error) {
	in := Instance{}
	if !utf8.ValidString(text) { // JSON's reader would make other characters of it
		return in, errors.New("not UTF-8")
	}
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return Instance{}, fmt.Errorf("not a registration: %w", err)
	}
	in.ID = id
	return in, in.check()
}

func (in Instance) check() error {
	if !plain(in.ID) {
		return fmt.Errorf("an ID of %d bytes, or with other than printable characters", len(in.ID))
	}
	if err := checkAddress(in.Address); err != nil {
		return err
	}
	if len(in.Labels) > mostLabels {
		return fmt.Errorf("%d labels, and %d are allowed", len(in.Labels), mostLabels)
	}
	for k, v := range in.Labels {
		if !plain(k) || v != "" && !plain(v) {
			return fmt.Errorf("label %.80q: %.80q has other than printable characters, or too many", k, v)
		}
	}
	if in.Priority < 0 || in.Priority > 65535 || in.Weight < 0 || in.Weight > 65535 {
		return errors.New("priority and weight are 0 to 65535")
	}
	return nil
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !plain(host) || strings.ContainsAny(host, "/@?#%") {
		return fmt.Errorf("address %.80q is not host:port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %.80q has no port from 1 to 65535", address)
	}
	return nil
}

// plain is what may stand in a log line or a metric.
func plain(s string) bool {
	return s != "" && len(s) <= mostText && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' })
}

// Selector is the labels that an instance must have.
type Selector map[string]string

func (s Selector) fits(in Instance) bool {
	for k, v := range s {
		if got, ok := in.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func (s Selector) String() string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(s)) {
		list = append(list, k+"="+s[k])
	}
	return strings.Join(list, ",")
}

// others says which environments there are, for whoever has asked for one that there is not.
func (s Selector) others(list []Instance) string {
	seen := map[string]bool{}
	for _, in := range list {
		one := Selector{}
		for k := range s {
			if v, ok := in.Labels[k]; ok {
				one[k] = v
			}
		}
		seen[one.String()] = true
	}
	delete(seen, "")
	if len(seen) == 0 {
		return "the registry has none of any label"
	}
	names := slices.Sorted(maps.Keys(seen))
	if len(names) > 5 {
		names = append(names[:5], "…")
	}
	return "the registry has " + strings.Join(names, "; ")
}
