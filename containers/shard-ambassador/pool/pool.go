// Package pool reads what an ambassador serves: twemproxy's pool files as they
// are, or the same settings of one pool from the environment.
//
//	pools, err := pool.ReadFile("/etc/nutcracker/nutcracker.yml")
//	for _, p := range pools {
//		r, err := p.Ring()
//		…
//	}
//
// Source: twemproxy's README and src/nc_conf.c.
package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"distlab/containers/shard-ambassador/ring"
)

// Pool is one address for clients, and the servers behind it.
type Pool struct {
	Name   string
	Listen Listen

	// What twemproxy has, with its names and its defaults.
	ClientConnections  int // most at once; 0: no limit
	Hash               ring.Hash
	HashTag            string // "" or two bytes
	Distribution       ring.Distribution
	Timeout            time.Duration // for a server to answer; 0: none
	Backlog            int
	TCPKeepAlive       bool
	Preconnect         bool
	Redis              bool // the servers are Redis; else they are memcached
	RedisAuth          string
	RedisDB            int
	ServerConnections  int // to each server
	AutoEjectHosts     bool
	ServerRetryTimeout time.Duration // from ejection to the first attempt to get back in
	ServerFailureLimit int           // failures in a row that eject
	Servers            []Server

	Extras
}

// Extras are the settings that twemproxy does not have. A pool file may have
// them; twemproxy refuses such a file.
type Extras struct {
	Eject          Eject
	MGETErrors     MGETErrors
	UnsignedBytes  bool          // hash bytes from 0x80 on as twemproxy on ARM does, not as on x86
	ConnectTimeout time.Duration // to connect to a server; 0: none
	Probe          bool          // an ejected server must answer a PING before it gets requests again
	FailureReplies []Reply       // errors that count as failures of the server
}

// Eject is what happens to the keys of an ejected server.
type Eject string

const (
	Rehash   Eject = "rehash"    // as in twemproxy: they go to the others, and come back with it
	FailFast Eject = "fail_fast" // the ring stays as it is: they fail at once, without waiting for the server
)

// MGETErrors is what MGET answers when a shard is away.
type MGETErrors string

const (
	PerKey MGETErrors = "per_key" // an error in the place of each key of that shard
	Whole  MGETErrors = "whole"   // as in twemproxy: one error for all keys
)

// Reply is an error reply of a server's, by its first word.
type Reply string

// UnmarshalText takes a word as Redis has them.
func (r *Reply) UnmarshalText(text []byte) error {
	if len(text) == 0 || len(bytes.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) > 0 {
		return errors.New("not the first word of an error, like LOADING")
	}
	*r = Reply(text)
	return nil
}

// Default is a pool without servers, all of its settings at their defaults.
func Default() Pool {
	return Pool{
		Hash: ring.FNV1ax64, Distribution: ring.Ketama, Backlog: 512,
		ServerConnections: 1, ServerRetryTimeout: 30 * time.Second, ServerFailureLimit: 2,
		Extras: Extras{Eject: Rehash, MGETErrors: PerKey, ConnectTimeout: time.Second, Probe: true, FailureReplies: []Reply{"LOADING"}},
	}
}

// Ring is the ring of all servers of the pool.
func (p Pool) Ring() (*ring.Ring, error) {
	cfg := ring.Config{Distribution: p.Distribution, Hash: p.Hash, HashTag: p.HashTag, Unsigned: p.UnsignedBytes}
	for _, s := range p.Servers {
		cfg.Servers = append(cfg.Servers, ring.Server{Name: s.Name, Weight: s.Weight})
	}
	return ring.New(cfg)
}

// Addr is where something listens: Network is tcp or unix.
type Addr struct{ Network, Address string }

func (a Addr) String() string { return a.Address }

// Server is one of the servers behind a pool.
type Server struct {
	Addr   Addr
	Weight int
	Name   string // what the ring knows it by
}

// UnmarshalText reads "host:port:weight name" or "/path:weight name", the name
// being optional: it is host:port then, of which port 11211 is left out, as
// libmemcached has it. The weight is not part of it, whatever twemproxy's README says.
func (s *Server) UnmarshalText(text []byte) error {
	line, name, named := cutLast(string(text), " ")
	if named && strings.TrimSpace(name) == "" {
		line, named = string(text), false
	}
	line = strings.TrimSpace(line)
	rest, weight, ok := cutLast(line, ":")
	socket := strings.HasPrefix(line, "/")
	host, port, hasPort := rest, "", true
	if !socket {
		host, port, hasPort = cutLast(rest, ":")
	}
	if !ok || !hasPort || host == "" {
		return errors.New("not like host:port:weight [name] or /path:weight [name]")
	}
	n, err := number(weight)
	switch {
	case err != nil:
		return fmt.Errorf("weight %q: %w", weight, err)
	case n == 0:
		return errors.New("weight 0: a server without weight gets no keys; leave it out")
	}
	*s = Server{Addr: Addr{"unix", host}, Weight: n, Name: name}
	if !socket {
		if err := checkPort(port); err != nil {
			return err
		}
		s.Addr = Addr{"tcp", net.JoinHostPort(strings.Trim(host, "[]"), port)}
	}
	if !named {
		s.Name = host + ":" + port // a socket's is /path: in twemproxy, with the colon
		if port == "11211" {
			s.Name = host
		}
	}
	return nil
}

// SettingType names the type in the documentation.
func (*Server) SettingType() (name, want string) {
	return "server", "a server like redis-a:6379:1 or redis-a:6379:1 a"
}

// Listen is where a pool is served: an address, or a socket's path and, if it
// is not 0, its permissions.
type Listen struct {
	Addr
	Mode fs.FileMode
}

// UnmarshalText reads "host:port", ":port" or "/path mode", the mode in octal and optional.
func (l *Listen) UnmarshalText(text []byte) error {
	if strings.HasPrefix(string(text), "/") {
		path, octal, hasMode := cutLast(string(text), " ")
		*l = Listen{Addr: Addr{"unix", path}}
		if hasMode {
			mode, err := strconv.ParseUint(octal, 8, 32)
			if err != nil || mode > 0o777 {
				return fmt.Errorf("mode %q: not permissions like 0660", octal)
			}
			l.Mode = fs.FileMode(mode)
		}
		return nil
	}
	host, port, ok := cutLast(string(text), ":")
	_, want := l.SettingType()
	if !ok || strings.ContainsAny(host, " /") {
		return errors.New("not " + want)
	}
	if port != "0" {
		if err := checkPort(port); err != nil {
			return err
		}
	}
	*l = Listen{Addr: Addr{"tcp", net.JoinHostPort(strings.Trim(host, "[]"), port)}}
	return nil
}

// String is what UnmarshalText reads.
func (l Listen) String() string {
	if l.Mode == 0 {
		return l.Address
	}
	return fmt.Sprintf("%s %#o", l.Address, l.Mode)
}

// SettingType names the type in the documentation.
func (*Listen) SettingType() (name, want string) {
	return "address", "an address like :6379, or a socket like /run/redis.sock 0660"
}

// cutLast is strings.Cut at the last separator: addresses are read from the
// end, because what is before may have separators as well, as IPv6 has.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// number is one of twemproxy's: digits, nothing else.
func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("more than %d", math.MaxInt32)
	case err != nil:
		return 0, errors.New("not a whole number of 0 or more")
	}
	return int(n), nil
}

func checkPort(text string) error {
	if n, err := number(text); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %q: not between 1 and 65535", text)
	}
	return nil
}
