package pool

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"distlab/containers/shard-ambassador/ring"
)

// maxWeights is the greatest sum of a pool's weights that a ring takes.
const maxWeights = math.MaxUint32

// setter puts the text of a setting where it belongs.
type setter func(p *Pool, text string) error

// keys are the settings of a pool, but for its servers.
var keys = map[string]setter{
	"listen": func(p *Pool, text string) error {
		if strings.HasSuffix(text, ":0") {
			return checkPort("0")
		}
		return p.Listen.UnmarshalText([]byte(text))
	},
	"client_connections":   numberOf(func(p *Pool) *int { return &p.ClientConnections }),
	"hash":                 oneOf(func(p *Pool) *ring.Hash { return &p.Hash }, ring.Hashes...),
	"hash_tag":             setHashTag,
	"distribution":         oneOf(func(p *Pool) *ring.Distribution { return &p.Distribution }, ring.Distributions...),
	"timeout":              milliseconds(func(p *Pool) *time.Duration { return &p.Timeout }),
	"backlog":              numberOf(func(p *Pool) *int { return &p.Backlog }),
	"tcpkeepalive":         boolean(func(p *Pool) *bool { return &p.TCPKeepAlive }),
	"preconnect":           boolean(func(p *Pool) *bool { return &p.Preconnect }),
	"redis":                boolean(func(p *Pool) *bool { return &p.Redis }),
	"redis_auth":           func(p *Pool, text string) error { p.RedisAuth = text; return nil },
	"redis_db":             numberOf(func(p *Pool) *int { return &p.RedisDB }),
	"server_connections":   setServerConnections,
	"auto_eject_hosts":     boolean(func(p *Pool) *bool { return &p.AutoEjectHosts }),
	"server_retry_timeout": milliseconds(func(p *Pool) *time.Duration { return &p.ServerRetryTimeout }),
	"server_failure_limit": numberOf(func(p *Pool) *int { return &p.ServerFailureLimit }),

	"eject":           oneOf(func(p *Pool) *Eject { return &p.Eject }, Rehash, FailFast),
	"mget_errors":     oneOf(func(p *Pool) *MGETErrors { return &p.MGETErrors }, PerKey, Whole),
	"hash_bytes":      setHashBytes,
	"connect_timeout": milliseconds(func(p *Pool) *time.Duration { return &p.ConnectTimeout }),
	"probe":           boolean(func(p *Pool) *bool { return &p.Probe }),
	"failure_replies": setFailureReplies,
}

func numberOf(field func(*Pool) *int) setter {
	return func(p *Pool, text string) (err error) {
		*field(p), err = number(text)
		return err
	}
}

func milliseconds(field func(*Pool) *time.Duration) setter {
	return func(p *Pool, text string) error {
		n, err := number(text)
		if err != nil {
			return fmt.Errorf("%w, of milliseconds", err)
		}
		*field(p) = time.Duration(n) * time.Millisecond
		return nil
	}
}

// boolean takes what twemproxy takes: YAML's other words for true and false are mistakes.
func boolean(field func(*Pool) *bool) setter {
	return func(p *Pool, text string) error {
		if text != "true" && text != "false" {
			return errors.New("not true or false")
		}
		*field(p) = text == "true"
		return nil
	}
}

func oneOf[T ~string](field func(*Pool) *T, allowed ...T) setter {
	return func(p *Pool, text string) error {
		if !slices.Contains(allowed, T(text)) {
			list := make([]string, len(allowed))
			for i, a := range allowed {
				list[i] = string(a)
			}
			return fmt.Errorf("not one of %s", strings.Join(list, ", "))
		}
		*field(p) = T(text)
		return nil
	}
}

func setHashTag(p *Pool, text string) error {
	if len(text) != 2 {
		return errors.New("not two characters, such as {}")
	}
	p.HashTag = text
	return nil
}

func setFailureReplies(p *Pool, text string) error {
	p.FailureReplies = nil
	for word := range strings.SplitSeq(text, ",") {
		var r Reply
		if err := r.UnmarshalText([]byte(strings.TrimSpace(word))); err != nil {
			return err
		}
		p.FailureReplies = append(p.FailureReplies, r)
	}
	return nil
}

func setServerConnections(p *Pool, text string) error {
	n, err := number(text)
	if err == nil && n == 0 {
		return errors.New("less than 1")
	}
	p.ServerConnections = n
	return err
}

func setHashBytes(p *Pool, text string) error {
	if text != "signed" && text != "unsigned" {
		return errors.New("not one of signed, unsigned")
	}
	p.UnsignedBytes = text == "unsigned"
	return nil
}

// nearest is a hint at what an unknown key may mean, or nothing.
func nearest(key string) string {
	plain := func(s string) string {
		return strings.TrimSuffix(strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)), "s")
	}
	for _, known := range append(slices.Sorted(maps.Keys(keys)), "servers") {
		if a, b := plain(key), plain(known); a == b || len(a) > 3 && oneOff(a, b) {
			return fmt.Sprintf(", did you mean %s?", known)
		}
	}
	return ""
}

// oneOff says whether one letter too many, too few or wrong is all that sets two words apart.
func oneOff(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return a[i:] == b[min(i+1, len(b)):] || i < len(a) && a[i+1:] == b[min(i+1, len(b)):]
}
