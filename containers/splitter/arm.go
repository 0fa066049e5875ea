package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"distlab/containers/internal/balance"
)

// ArmSpec is what is set of an arm. The words are those of nginx's `server`
// line, and their defaults too.
//
//	experiment=http://exp:8080 weight=1 max_fails=3 fail_timeout=10s
type ArmSpec struct {
	Name        string
	URL         string // http://host:port, or h2c://host:port for HTTP/2 cleartext
	Weight      int    // 0: nobody but those who override
	MaxFails    int
	FailTimeout time.Duration
	MaxConns    int
	Down        bool // nobody at all
	Drain       bool // only those who are on it already, by cookie

	h2c  bool
	addr string // host:port to dial
}

// maxWeight bounds the sum of a set's weights far below what 32 bits hold.
const maxWeight = 1_000_000

// UnmarshalText parses one arm.
func (a *ArmSpec) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return errors.New("no arm")
	}
	spec := ArmSpec{Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second}
	name, target, ok := strings.Cut(words[0], "=")
	if !ok || !validName(name) {
		return fmt.Errorf("%q does not begin like experiment=http://host:8080", words[0])
	}
	spec.Name = name
	if err := spec.target(target); err != nil {
		return fmt.Errorf("arm %q: %w", name, err)
	}
	for _, word := range words[1:] {
		if err := spec.parameter(word); err != nil {
			return fmt.Errorf("arm %q: %w", name, err)
		}
	}
	*a = spec
	return nil
}

// SettingType names the type in the documentation.
func (*ArmSpec) SettingType() (name, want string) {
	return "arm", "an arm like experiment=http://host:8080 weight=1"
}

func (a *ArmSpec) target(text string) error {
	u, err := parseTarget(text)
	if err != nil {
		return err
	}
	a.URL, a.h2c, a.addr = text, u.Scheme == "h2c", dialAddr(u)
	return nil
}

// parseTarget takes http://host[:port] and h2c://host[:port], nothing after.
func parseTarget(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "h2c", u.Hostname() == "", strings.HasSuffix(u.Host, ":"):
		return nil, fmt.Errorf("%q is not like http://host:8080 or h2c://host:8080", text)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.ForceQuery:
		return nil, fmt.Errorf("%q has more than a host and a port", text)
	}
	if u.Port() != "" {
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%q has no valid port", text)
		}
	}
	return u, nil
}

func dialAddr(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (a *ArmSpec) parameter(word string) error {
	key, value, _ := strings.Cut(word, "=")
	var err error
	number := func(n *int, most int) {
		v, parseErr := strconv.Atoi(value)
		if parseErr != nil || v < 0 || v > most {
			err = fmt.Errorf("%s=%s: not a number of 0 to %d", key, value, most)
		}
		*n = v
	}
	switch key {
	case "weight":
		number(&a.Weight, maxWeight/balance.MaxPeers)
	case "max_fails":
		number(&a.MaxFails, math.MaxInt32)
	case "max_conns":
		number(&a.MaxConns, math.MaxInt32)
	case "fail_timeout":
		a.FailTimeout, err = parseTimeout(value)
	case "down", "drain":
		if word != key {
			return fmt.Errorf("%s has no value", key)
		}
		a.Down, a.Drain = a.Down || key == "down", a.Drain || key == "drain"
	default:
		err = fmt.Errorf("%q is none of weight=, max_fails=, fail_timeout=, max_conns=, down, drain", word)
	}
	return err
}

// parseTimeout takes Go's durations, and a bare number of seconds as nginx
// does.
func parseTimeout(text string) (time.Duration, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("fail_timeout=%s: not a duration like 10s", text)
	}
	return d, nil
}

// String is the arm as it is written.
func (a ArmSpec) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s=%s weight=%d", a.Name, a.URL, a.Weight)
	if a.MaxFails != 1 {
		fmt.Fprintf(&b, " max_fails=%d", a.MaxFails)
	}
	if a.FailTimeout != 10*time.Second {
		fmt.Fprintf(&b, " fail_timeout=%s", a.FailTimeout)
	}
	if a.MaxConns != 0 {
		fmt.Fprintf(&b, " max_conns=%d", a.MaxConns)
	}
	if a.Down {
		b.WriteString(" down")
	}
	if a.Drain {
		b.WriteString(" drain")
	}
	return b.String()
}

// validName is for names that stand in cookies, headers, metrics and URLs as
// they are.
func validName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// checkArms finds what is wrong with a set.
func checkArms(arms []ArmSpec) error {
	var bad []error
	names := map[string]bool{}
	serving := false
	for _, a := range arms {
		if names[a.Name] {
			bad = append(bad, fmt.Errorf("arm %q: declared twice", a.Name))
		}
		names[a.Name] = true
		serving = serving || a.Weight > 0 && !a.Down && !a.Drain
	}
	switch {
	case len(arms) == 0:
		bad = append(bad, errors.New("no arm"))
	case len(arms) > balance.MaxPeers:
		bad = append(bad, fmt.Errorf("%d arms: not more than %d", len(arms), balance.MaxPeers))
	case !serving:
		bad = append(bad, errors.New("no arm has a weight and is not down"))
	}
	return errors.Join(bad...)
}

// parseArms reads an arms file: a line for each arm, # begins a comment.
func parseArms(text string) ([]ArmSpec, error) {
	var arms []ArmSpec
	var bad []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var a ArmSpec
		if err := a.UnmarshalText([]byte(line)); err != nil {
			bad = append(bad, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		arms = append(arms, a)
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return arms, checkArms(arms)
}
