package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Access says which client certificates are let in, after the client CA has
// vouched for them. One match is enough. The zero value lets nobody in.
//
// Source: ghostunnel's --allow-all, --allow-cn, --allow-ou, --allow-dns and
// --allow-uri, whose wildcards URI patterns share.
type Access struct {
	All bool     // every certificate of the client CA
	CN  []string // common names
	OU  []string // organisational units
	DNS []string // DNS names among the SANs, in any case; "*.a" matches only the name "*.a" itself
	URI []string // URIs among the SANs; "*" stands for one path segment, a last "**" for any rest
}

// errDenied is what Admit's refusals wrap.
var errDenied = errors.New("client certificate not allowed")

// Empty is true if no choice was made.
func (a Access) Empty() bool {
	return !a.All && len(a.CN)+len(a.OU)+len(a.DNS)+len(a.URI) == 0
}

// Check finds what cannot be meant.
func (a Access) Check() error {
	if a.All && !(Access{CN: a.CN, OU: a.OU, DNS: a.DNS, URI: a.URI}).Empty() {
		return errors.New("ALLOW_ALL with ALLOW_CN, ALLOW_OU, ALLOW_DNS or ALLOW_URI: the lists would mean nothing")
	}
	for _, list := range [][]string{a.CN, a.OU, a.DNS, a.URI} {
		if slices.Contains(list, "") {
			return errors.New("an empty name in an ALLOW list: it would admit certificates without one")
		}
	}
	for _, p := range a.URI {
		if i := strings.Index(p, "**"); i >= 0 && (i != len(p)-2 || !strings.HasSuffix(p, "/**")) {
			return fmt.Errorf("ALLOW_URI %q: ** must be the whole of the last segment", p)
		}
	}
	return nil
}

// Admit returns nil if the certificate matches, or an error that wraps
// errDenied and names it.
func (a Access) Admit(c *x509.Certificate) error {
	switch {
	case a.All,
		c.Subject.CommonName != "" && slices.Contains(a.CN, c.Subject.CommonName),
		overlap(a.OU, c.Subject.OrganizationalUnit),
		slices.ContainsFunc(c.DNSNames, a.admitsDNS),
		slices.ContainsFunc(uris(c), a.admitsURI):
		return nil
	}
	return fmt.Errorf("%w: subject %q, serial %s", errDenied, c.Subject, serialOf(c))
}

func (a Access) admitsDNS(name string) bool {
	return slices.ContainsFunc(a.DNS, func(want string) bool { return strings.EqualFold(want, name) })
}

func (a Access) admitsURI(uri string) bool {
	return slices.ContainsFunc(a.URI, func(pattern string) bool { return matchURI(pattern, uri) })
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

func uris(c *x509.Certificate) []string {
	list := make([]string, len(c.URIs))
	for i, u := range c.URIs {
		list[i] = u.String()
	}
	return list
}

// matchURI compares segment by segment. A wildcard never stands for nothing:
// "spiffe://a/*" does not match "spiffe://a/" nor "spiffe://a".
func matchURI(pattern, uri string) bool {
	for {
		want, patternRest, morePattern := strings.Cut(pattern, "/")
		got, uriRest, moreURI := strings.Cut(uri, "/")
		switch {
		case want == "**" && !morePattern:
			return uri != ""
		case want == "*" && got == "", want != "*" && want != got:
			return false
		case !morePattern || !moreURI:
			return morePattern == moreURI
		}
		pattern, uri = patternRest, uriRest
	}
}
