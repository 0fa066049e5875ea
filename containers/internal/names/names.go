// Package names says what may be a name where containers meet: in a key, a path, a header, a line of a log.
package names

import "regexp"

// What is what a setting or a client is told that had no such name.
const What = "a name: up to 63 of a-z, 0-9, dot, dash and underscore"

var plain = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// Plain is whether a text is such a name: it begins and ends with a letter or a digit, needs no escaping anywhere, and is no
// path, since two dots alone are none.
func Plain(text string) bool { return plain.MatchString(text) }
