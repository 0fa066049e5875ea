package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/balance"
)

// Sticky keeps a client on one arm. By cookie, the client carries the arm's
// name; by header or address, the arm is a share of the hashes of what the
// client says or is, so that nothing has to be carried and all splitters with
// the same arms agree.
type Sticky struct {
	Kind   string // none, cookie, header or address
	Cookie string // its name
	MaxAge time.Duration
	Secure bool
	Secret string // signs cookies; "": they are not signed
	Header string // in canonical form
	Salt   string // goes before what is hashed
}

// find is the arm that a client belongs to, -1: to none yet.
func (s *Sticky) find(t *set, f *Facts) (int, Reason) {
	var scratch [256]byte
	key := append(scratch[:0], s.Salt...)
	switch s.Kind {
	case "cookie":
		return s.byCookie(t, balance.Cookie(f.Header.Get("Cookie"), s.Cookie)), ByCookie
	case "header":
		value := f.Header.Get(s.Header)
		if value == "" {
			return -1, ByHeader
		}
		return t.peers.Share(append(key, value...)), ByHeader
	case "address":
		if !f.Client.IsValid() {
			return -1, ByAddress
		}
		return t.peers.Share(f.Client.AppendTo(key)), ByAddress
	}
	return -1, ""
}

// byCookie honours arms that take users, or keep those that they have.
func (s *Sticky) byCookie(t *set, value string) int {
	if value == "" {
		return -1
	}
	for i, a := range t.arms {
		if a.spec.Down || a.spec.Weight == 0 && !a.spec.Drain {
			continue
		}
		// What follows the name and the "=" in its Set-Cookie, up to the
		// attributes, is what the client must send.
		want := a.cookie[len(s.Cookie)+1 : strings.IndexByte(a.cookie, ';')]
		if len(want) == len(value) && equal(want, value) {
			return i
		}
	}
	return -1
}

// setCookie is the Set-Cookie header for an arm.
func (s *Sticky) setCookie(a *Arm) string {
	if s.Kind != "cookie" {
		return ""
	}
	value := a.Name
	if a.epoch != 0 {
		value += "." + strconv.FormatInt(a.epoch, 36)
	}
	if s.Secret != "" {
		value += "." + sign(s.Secret, s.Cookie+"="+value)
	}
	var b strings.Builder
	b.WriteString(s.Cookie + "=" + value + "; Path=/")
	if s.MaxAge > 0 {
		b.WriteString("; Max-Age=" + strconv.Itoa(int(s.MaxAge/time.Second)))
	}
	b.WriteString("; HttpOnly; SameSite=Lax")
	if s.Secure {
		b.WriteString("; Secure")
	}
	return b.String()
}

func sign(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// equal takes the same time for all texts of one length.
func equal(a, b string) bool {
	var v byte
	for i := range len(a) {
		v |= a[i] ^ b[i]
	}
	return subtle.ConstantTimeByteEq(v, 0) == 1
}
