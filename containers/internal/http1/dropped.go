package http1

// droppedNames are the headers that no client may send to the app, in lower
// case: what the sidecar says itself, and what frameworks take for the same.
// A last "-" makes it a prefix.
var droppedNames = [][]string{
	'c': {"client-cert", "client-cert-chain"}, // RFC 9440
	'f': {"forwarded"},
	'p': {"proxy"}, // becomes HTTP_PROXY in CGI
	't': {"true-client-ip"},
	'x': {
		"x-forwarded-", "x-forwarded", "x-real-ip", "x-client-cert-", "x-client-cert",
		"x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "x-ssl-client-",
	},
}

// oddNames are the headers whose meaning is the sidecar's business to check,
// and that are therefore dropped when they come in another spelling.
var oddNames = [][]string{
	'c': {"content-length", "connection"},
	'e': {"expect"},
	'h': {"host"},
	'k': {"keep-alive"},
	'p': {"proxy-connection"},
	't': {"transfer-encoding", "te", "trailer"},
	'u': {"upgrade"},
}

// Dropped is true for a header that is not passed on. Names are compared as an
// old app may see them: CGI and its heirs make "_" of "-", and some of
// everything else, so X_Forwarded_For, x.forwarded.for and X-Forwarded-For are
// one name to them.
func Dropped[T string | []byte](name T) bool {
	if len(name) == 0 {
		return false
	}
	c := int(fold(name[0]))
	if c < len(droppedNames) {
		for _, want := range droppedNames[c] {
			if foldsTo(name, want) {
				return true
			}
		}
	}
	if c < len(oddNames) && odd(name) {
		for _, want := range oddNames[c] {
			if foldsTo(name, want) {
				return true
			}
		}
	}
	return false
}

// odd is true if the name has a character that is neither alphanumeric nor
// "-".
func odd[T string | []byte](name T) bool {
	for i := range len(name) {
		if c := fold(name[i]); c == '-' && name[i] != '-' {
			return true
		}
	}
	return false
}

func foldsTo[T string | []byte](name T, want string) bool {
	if want[len(want)-1] == '-' {
		if len(name) < len(want) {
			return false
		}
		name = name[:len(want)]
	}
	return equalFold(name, want)
}

// equalFold compares names, want in lower case.
func equalFold[T string | []byte](name T, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range len(name) {
		if fold(name[i]) != want[i] {
			return false
		}
	}
	return true
}

// fold is lower case for letters, and "-" for everything that is not
// alphanumeric.
func fold(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return '-'
}
