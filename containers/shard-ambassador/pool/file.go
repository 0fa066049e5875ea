package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile bounds a pool file: a path that names something endless must be an error and not a full memory.
const maxFile = 1 << 20

// ReadFile reads a pool file of twemproxy's. Its error has a line for each
// mistake, "file:line: what is wrong", in the order of the file.
func ReadFile(path string) ([]Pool, error) { return Read(path, Default().Extras) }

// Read is ReadFile with other defaults for what twemproxy does not have.
func Read(path string, extras Extras) ([]Pool, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return Parse(path, text, extras)
}

// Parse is Read for text that is at hand. The path is for errors alone.
func Parse(path string, text []byte, extras Extras) ([]Pool, error) {
	r := &reader{path: path}
	pools := r.pools(text, extras)
	if err := r.err(); err != nil {
		return nil, err
	}
	return pools, nil
}

// reader collects the mistakes of a file.
type reader struct {
	path string
	bad  []problem
}

type problem struct {
	line int
	text string
}

func (r *reader) say(line int, format string, args ...any) {
	r.bad = append(r.bad, problem{line, fmt.Sprintf(format, args...)})
}

// err is all mistakes, in the order of the file.
func (r *reader) err() error {
	slices.SortStableFunc(r.bad, func(a, b problem) int { return a.line - b.line })
	list := make([]error, len(r.bad))
	for i, p := range r.bad {
		list[i] = fmt.Errorf("%s:%d: %s", r.path, p.line, p.text)
	}
	return errors.Join(list...)
}

// pools reads the only document of a file: a mapping of names to pools.
func (r *reader) pools(text []byte, extras Extras) (pools []Pool) {
	root := r.document(text)
	if root == nil {
		return nil
	}
	if root.Kind != yaml.MappingNode || len(root.Content) == 0 {
		r.say(max(1, root.Line), "no pools: want a name and its settings, as twemproxy has them")
		return nil
	}
	names, addresses := map[string]int{}, map[string]string{}
	for name, body := range pairs(root) {
		if !r.plain(name, "the name of a pool") {
			continue
		}
		if first, again := names[name.Value]; again {
			r.say(name.Line, "pool %q: a pool of this name is in line %d already", name.Value, first)
			continue
		}
		names[name.Value] = name.Line
		p, ok := r.pool(name, body, extras)
		if !ok {
			continue
		}
		if other, taken := addresses[p.Listen.Address]; taken {
			r.say(name.Line, "pool %q: it listens at %s, as pool %q does", p.Name, p.Listen.Address, other)
		}
		addresses[p.Listen.Address] = p.Name
		pools = append(pools, p)
	}
	return pools
}

// document is the root of the file's only document, nil after a mistake.
func (r *reader) document(text []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := decoder.Decode(&doc); {
	case err == io.EOF:
		r.say(1, "an empty file: no pools")
		return nil
	case err != nil:
		r.syntax(err)
		return nil
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		r.say(max(1, more.Line), "a second document: a pool file has one")
		return nil
	case err != io.EOF:
		r.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.say(1, "no pools")
		return nil
	}
	return doc.Content[0]
}

// syntax is an error of the YAML library's, with its line where it belongs.
func (r *reader) syntax(err error) {
	var at *yaml.LoadError
	switch {
	case !errors.As(err, &at):
		r.say(1, "not YAML: %s", strings.Join(strings.Fields(err.Error()), " "))
	case at.Stage == yaml.ComposerStage:
		// The message would quote the alias, which may be a password without its quotes.
		r.say(max(1, at.Mark.Line), "not YAML: an alias of nothing; a text that begins with * needs quotes")
	case at.ContextMsg != "" && at.ContextMark.Line > 0:
		r.say(max(1, at.Mark.Line), "not YAML: %s (%s from line %d on)", at.Message, at.ContextMsg, at.ContextMark.Line)
	default:
		r.say(max(1, at.Mark.Line), "not YAML: %s", at.Message)
	}
}

// pool reads one pool. It is not ok after a mistake.
func (r *reader) pool(name, body *yaml.Node, extras Extras) (Pool, bool) {
	before := len(r.bad)
	p := Default()
	p.Name, p.Extras = name.Value, extras
	if body.Kind != yaml.MappingNode {
		r.say(name.Line, "pool %q: no settings: want listen, servers and others, indented", p.Name)
		return p, false
	}
	seen := map[string]*yaml.Node{}
	for key, value := range pairs(body) {
		if !r.plain(key, "a setting's name") {
			continue
		}
		if first, again := seen[key.Value]; again {
			r.say(key.Line, "pool %q: %s is set in line %d already", p.Name, key.Value, first.Line)
			continue
		}
		seen[key.Value] = value
		if key.Value == "servers" {
			r.servers(&p, key, value)
		} else if set, ok := keys[key.Value]; !ok {
			r.say(key.Line, "pool %q: unknown key %q%s", p.Name, key.Value, nearest(key.Value))
		} else if r.plain(value, p.Name+"'s "+key.Value) {
			if err := set(&p, value.Value); err != nil {
				r.say(value.Line, "pool %q: %s%s: %v", p.Name, key.Value, quoted(key.Value, value.Value), err)
			}
		}
	}
	for _, key := range []string{"listen", "servers"} {
		if seen[key] == nil {
			r.say(name.Line, "pool %q: %s is missing", p.Name, key)
		}
	}
	if p.RedisAuth != "" && !p.Redis {
		r.say(seen["redis_auth"].Line, "pool %q: redis_auth is for pools with redis: true", p.Name)
	}
	return p, len(r.bad) == before
}

// servers reads a pool's list of servers.
func (r *reader) servers(p *Pool, key, list *yaml.Node) {
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		r.say(key.Line, "pool %q: no servers: want lines like - redis-a:6379:1 a", p.Name)
		return
	}
	named := map[string]int{}
	total := 0
	for _, item := range list.Content {
		if !r.plain(item, "a server") {
			continue
		}
		var s Server
		if err := s.UnmarshalText([]byte(item.Value)); err != nil {
			r.say(item.Line, "pool %q: server %q: %v", p.Name, item.Value, err)
			continue
		}
		if first, again := named[s.Name]; again {
			r.say(item.Line, "pool %q: server %q: the server in line %d has the name %q already", p.Name, item.Value, first, s.Name)
			continue
		}
		named[s.Name] = item.Line
		if total += s.Weight; total > maxWeights {
			r.say(item.Line, "pool %q: the weights add up to more than %d", p.Name, maxWeights)
			return
		}
		p.Servers = append(p.Servers, s)
	}
}

// plain says whether a node is a text of its own. What else YAML has,
// twemproxy refuses, and none of it is any use here.
func (r *reader) plain(n *yaml.Node, what string) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0:
		r.say(n.Line, "%s: anchors, aliases and tags of YAML have no place in a pool file", what)
	case n.Kind != yaml.ScalarNode:
		r.say(n.Line, "%s: not a text or a number", what)
	case n.Value == "":
		r.say(n.Line, "%s: empty", what)
	default:
		return true
	}
	return false
}

// pairs are the keys and values of a mapping.
func pairs(n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// quoted is a setting's value for an error, but for a secret's.
func quoted(key, value string) string {
	if key == "redis_auth" {
		return ""
	}
	return fmt.Sprintf(" %q", value)
}
