package balance

import (
	"fmt"
	"net/netip"
	"net/textproto"
	"strings"
)

// Getter is a request's headers: http.Header is one. The name is in canonical
// form; the value is the first, or "".
type Getter interface{ Get(name string) string }

// Facts are what a decision rests on. They are of no HTTP library.
type Facts struct {
	Method   string
	Target   string // as sent: the path, and where there is a "?", the query
	Path     string
	RawQuery string
	Host     string
	Client   netip.Addr // who asks: the other end, or whom trusted proxies name
	Header   Getter
}

// SetTarget says what is asked for.
func (f *Facts) SetTarget(target string) {
	f.Target = target
	f.Path, f.RawQuery, _ = strings.Cut(target, "?")
}

// Key is a template of what is hashed, in nginx's words:
// `$remote_addr`, `${arg_user}x`, `$http_x_user_id`.
type Key struct {
	text  string
	parts []keyPart
}

type keyPart struct {
	kind keyKind
	name string // of the header, the cookie or the argument; or the text itself
}

type keyKind uint8

const (
	keyText keyKind = iota
	keyAddr
	keyURI
	keyRequestURI
	keyArgs
	keyHost
	keyMethod
	keyArg
	keyCookie
	keyHeader
)

var keyWords = map[string]keyKind{
	"remote_addr": keyAddr, "uri": keyURI, "request_uri": keyRequestURI, "args": keyArgs,
	"query_string": keyArgs, "host": keyHost, "request_method": keyMethod,
}

// UnmarshalText parses a template.
func (k *Key) UnmarshalText(text []byte) error {
	key := Key{text: string(text)}
	for rest := key.text; rest != ""; {
		i := strings.IndexByte(rest, '$')
		if i != 0 {
			if i < 0 {
				i = len(rest)
			}
			key.parts = append(key.parts, keyPart{keyText, rest[:i]})
			rest = rest[i:]
			continue
		}
		var word string
		if strings.HasPrefix(rest, "${") {
			word, rest, _ = strings.Cut(rest[2:], "}")
		} else {
			n := 1
			for n < len(rest) && wordByte(rest[n]) {
				n++
			}
			word, rest = rest[1:n], rest[n:]
		}
		part, err := variable(word)
		if err != nil {
			return err
		}
		key.parts = append(key.parts, part)
	}
	*k = key
	return nil
}

func wordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

func variable(word string) (keyPart, error) {
	if kind, ok := keyWords[word]; ok {
		return keyPart{kind: kind}, nil
	}
	prefix, name, _ := strings.Cut(word, "_")
	if name != "" {
		switch prefix {
		case "arg":
			return keyPart{keyArg, name}, nil
		case "cookie":
			return keyPart{keyCookie, name}, nil
		case "http":
			return keyPart{keyHeader, textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))}, nil
		}
	}
	return keyPart{}, fmt.Errorf("$%s is none of $remote_addr, $uri, $request_uri, $args, $host, $request_method, $arg_NAME, $cookie_NAME, $http_NAME", word)
}

// SettingType names the type in the documentation.
func (*Key) SettingType() (name, want string) { return "key", "a key like $remote_addr" }

func (k Key) String() string { return k.text }

// None says that nothing is hashed.
func (k *Key) None() bool { return len(k.parts) == 0 }

// Append writes the key of a request to b.
func (k *Key) Append(b []byte, f *Facts) []byte {
	for i := range k.parts {
		p := &k.parts[i]
		switch p.kind {
		case keyText:
			b = append(b, p.name...)
		case keyAddr:
			if f.Client.IsValid() {
				b = f.Client.AppendTo(b)
			}
		case keyURI:
			b = append(b, f.Path...)
		case keyRequestURI:
			b = append(b, f.Target...)
		case keyArgs:
			b = append(b, f.RawQuery...)
		case keyHost:
			b = append(b, f.Host...)
		case keyMethod:
			b = append(b, f.Method...)
		case keyArg:
			b = append(b, Argument(f.RawQuery, p.name)...)
		case keyCookie:
			b = append(b, Cookie(f.Header.Get("Cookie"), p.name)...)
		case keyHeader:
			b = append(b, f.Header.Get(p.name)...)
		}
	}
	return b
}

// Argument is the first value of a query's argument, as sent: nginx does not
// unescape it either. Its name is found whatever its case, as there.
func Argument(query, name string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if key, value, ok := strings.Cut(pair, "="); ok && strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// Cookie is the first value of a cookie in a Cookie header, without quotes.
func Cookie(header, name string) string {
	for header != "" {
		var pair string
		pair, header, _ = strings.Cut(header, ";")
		key, value, ok := strings.Cut(strings.TrimLeft(pair, " \t"), "=")
		if !ok || key != name {
			continue
		}
		value = strings.TrimRight(value, " \t")
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		return value
	}
	return ""
}
