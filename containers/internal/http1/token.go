package http1

import "strings"

func hexValue(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

// isToken is RFC 9110's tchar: what names of methods and headers are made of.
func isToken(b byte) bool { return tokens[b] }

var tokens = func() (t [256]bool) {
	for b := range t {
		c := byte(b)
		t[b] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
			c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
	return t
}()
