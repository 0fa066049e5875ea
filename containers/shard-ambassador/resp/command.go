package resp

import "strings"

// Action is what a command means over several servers.
type Action uint8

const (
	Forward  Action = iota // to the server that has its keys, all of them
	SplitGet               // MGET: a part for each server, values in the order of the keys
	SplitSet               // MSET: a part for each server, one OK
	SplitSum               // DEL and its like: a part for each server, the sum of the answers
	Anywhere               // any server will do
	Local                  // it is about the client's connection
	Refused                // it has no meaning here
)

// Command is what is known about a command.
type Command struct {
	Name   string // in lower case
	Action Action
	Arity  int    // arguments, the name counted; negative: at least
	Why    string // it is refused

	first, last, step int
	find              finder // instead of first, last and step
}

// OneKey says that the first argument is the only key.
func (c *Command) OneKey() bool {
	return c.Action == Forward && c.find == nil && c.first == 1 && c.last == 1
}

// Step is the distance from one key to the next of a command that is split.
func (c *Command) Step() int { return c.step }

// finder appends the indexes of a request's keys. An error is for the client.
type finder func(keys []int, b []byte, args []Arg) ([]int, error)

// keyError is why a request's keys cannot be told.
type keyError string

func (e keyError) Error() string { return string(e) }

const (
	errSyntax  = keyError("ERR syntax error")
	errNoKeys  = keyError("ERR a request without keys belongs to no shard")
	errBlock   = keyError("ERR BLOCK is not supported: it blocks, and other clients share the connection")
	errPattern = keyError("ERR patterns of keys are not supported: they may be on other shards")
	errSub     = keyError("ERR this subcommand concerns a server, and there are several")
)

// Keys appends the indexes of the request's keys among its arguments. The
// request has the right number of arguments.
func (c *Command) Keys(keys []int, b []byte, args []Arg) ([]int, error) {
	if c.find != nil {
		return c.find(keys, b, args)
	}
	last := c.last
	if last < 0 {
		last += len(args)
	}
	for i := c.first; i <= last && i < len(args); i += c.step {
		keys = append(keys, i)
	}
	return keys, nil
}

// Info is the command as an element of COMMAND's reply: name, arity, flags and where its keys are.
func (c *Command) Info() string {
	b := AppendNumber(nil, '*', 6)
	b = AppendBulk(b, c.Name)
	b = AppendNumber(b, ':', c.Arity)
	b = AppendNumber(b, '*', 0)
	b = AppendNumber(b, ':', c.first)
	b = AppendNumber(b, ':', c.last)
	return string(AppendNumber(b, ':', c.step))
}

// ArityOK says whether a request may have n arguments, the name counted.
func (c *Command) ArityOK(n int) bool {
	if c.Arity < 0 {
		return n >= -c.Arity
	}
	return n == c.Arity
}

var table = build()

// longest name of a command.
const longest = 24

// Lookup finds a command, in upper or lower case, nil if there is none.
func Lookup(name []byte) *Command {
	if len(name) > longest {
		return nil
	}
	var lower [longest]byte
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	return table[string(lower[:len(name)])]
}

// Commands are all that are known, in no order.
func Commands() (list []*Command) {
	for _, c := range table {
		list = append(list, c)
	}
	return list
}

func build() map[string]*Command {
	t := map[string]*Command{}
	add := func(g group, c Command) {
		for _, name := range strings.Fields(g.names) {
			if t[name] != nil || len(name) > longest {
				panic("resp: command " + name)
			}
			c := c
			c.Name, c.Arity = name, g.arity
			t[name] = &c
		}
	}
	for _, g := range oneKey {
		add(g, Command{first: 1, last: 1, step: 1})
	}
	for _, s := range someKeys {
		add(s.group, Command{first: s.first, last: s.last, step: s.step})
	}
	for _, s := range special {
		add(s.group, Command{first: s.first, last: s.first, step: s.first, find: s.find})
	}
	for _, s := range split {
		add(s.group, Command{Action: s.action, first: 1, last: -1, step: s.step})
	}
	for _, g := range local {
		add(g, Command{Action: Local})
	}
	for _, g := range anywhere {
		add(g, Command{Action: Anywhere})
	}
	for _, r := range refused {
		add(group{-1, r.names}, Command{Action: Refused, Why: r.why})
	}
	return t
}

// counted finds keys that are counted: the argument at says how many follow
// it, and the one at also, if not 0, is a key as well.
func counted(at, also int) finder {
	return func(keys []int, b []byte, args []Arg) ([]int, error) {
		if at >= len(args) {
			return keys, errSyntax
		}
		n, next := number(b, args[at].Data) // a line end follows every argument
		if next != args[at].End+2 || n < 0 {
			return keys, keyError("ERR value is not an integer or out of range")
		}
		if n > len(args)-at-1 {
			return keys, keyError("ERR Number of keys can't be greater than number of args")
		}
		if also > 0 {
			keys = append(keys, also)
		}
		for i := at + 1; i <= at+n; i++ {
			keys = append(keys, i)
		}
		if len(keys) == 0 {
			return keys, errNoKeys
		}
		return keys, nil
	}
}

// streams: after the word STREAMS the first half are keys, the others are IDs.
func streams(keys []int, b []byte, args []Arg) ([]int, error) {
	for i := 1; i < len(args); i++ {
		word := b[args[i].Data:args[i].End]
		switch {
		case is(word, "block"):
			return keys, errBlock
		case is(word, "count"):
			i++
		case is(word, "group"):
			i += 2
		case is(word, "streams"):
			rest := len(args) - i - 1
			if rest == 0 || rest%2 != 0 {
				return keys, errSyntax
			}
			for k := range rest / 2 {
				keys = append(keys, i+1+k)
			}
			return keys, nil
		}
	}
	return keys, errSyntax
}

// sorted: SORT key [BY pattern] [GET pattern] [STORE key]. A pattern names keys
// that may be anywhere.
func sorted(keys []int, b []byte, args []Arg) ([]int, error) {
	keys = append(keys, 1)
	for i := 2; i < len(args); i++ {
		word := b[args[i].Data:args[i].End]
		switch {
		case is(word, "limit"):
			i += 2
		case is(word, "by") || is(word, "get"):
			if i++; i < len(args) && star(b[args[i].Data:args[i].End]) {
				return keys, errPattern
			}
		case is(word, "store"):
			if i++; i < len(args) {
				keys = append(keys, i)
			}
		}
	}
	return keys, nil
}

func star(pattern []byte) bool { return strings.IndexByte(string(pattern), '*') >= 0 }

// stored: GEORADIUS may store its result under another key. What comes before
// the sixth argument cannot be an option.
func stored(keys []int, b []byte, args []Arg) ([]int, error) {
	keys = append(keys, 1)
	for i := 5; i < len(args)-1; i++ {
		word := b[args[i].Data:args[i].End]
		if is(word, "store") || is(word, "storedist") {
			i++
			keys = append(keys, i)
		}
	}
	return keys, nil
}

// subcommand: some subcommands of OBJECT, XINFO, XGROUP and MEMORY have a key,
// the others concern the server.
func subcommand(keys []int, b []byte, args []Arg) ([]int, error) {
	if len(args) < 3 {
		return keys, errSub
	}
	name, sub := b[args[0].Data:args[0].End], b[args[1].Data:args[1].End]
	if is(name, "memory") && !is(sub, "usage") {
		return keys, errSub
	}
	return append(keys, 2), nil
}

// is compares a word of a request with one in lower case.
func is(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i, c := range word {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Is says whether an argument is a word, whatever its case; lower is the word in lower case.
func Is(word []byte, lower string) bool { return is(word, lower) }
