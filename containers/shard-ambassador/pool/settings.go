package pool

import (
	"errors"
	"fmt"
	"time"

	"distlab/containers/shard-ambassador/ring"
)

// Settings are a pool from the environment, or the file that has the pools.
// A program embeds it in its config struct.
type Settings struct {
	PoolFile           string            `env:"POOL_FILE" default:"" help:"twemproxy's pool file; without it, SERVERS and the settings below are one pool"`
	Servers            []Server          `env:"SERVERS" default:"" help:"host:port:weight or /path:weight of each server, and its name on the ring after a blank"`
	Name               string            `env:"POOL_NAME" default:"redis" help:"the pool's name in metrics and logs"`
	Listen             Listen            `env:"LISTEN_ADDR" default:":6379" help:"address for clients, or a socket's path and permissions"`
	Hash               ring.Hash         `env:"HASH" default:"fnv1a_64" oneof:"one_at_a_time|md5|crc16|crc32|crc32a|fnv1_64|fnv1a_64|fnv1_32|fnv1a_32|hsieh|murmur|jenkins" help:"what hashes the keys"`
	HashTag            string            `env:"HASH_TAG" default:"" help:"two characters; of a key that has both, only what stands between them is hashed"`
	Distribution       ring.Distribution `env:"DISTRIBUTION" default:"ketama" oneof:"ketama|modula|random" help:"how keys are shared out; with modula, a server more or less moves most keys"`
	Timeout            time.Duration     `env:"TIMEOUT" default:"0s" help:"time that a server gets to answer; 0: no limit, as in twemproxy, and a server that hangs then hangs its clients"`
	ClientConnections  int               `env:"CLIENT_CONNECTIONS" default:"0" min:"0" help:"clients at once; 0: no limit"`
	Backlog            int               `env:"BACKLOG" default:"512" min:"0" help:"connections that wait to be accepted"`
	TCPKeepAlive       bool              `env:"TCPKEEPALIVE" default:"false" help:"keep-alive on connections to servers"`
	Preconnect         bool              `env:"PRECONNECT" default:"false" help:"connect to all servers at the start, not at the first request"`
	RedisAuth          string            `env:"REDIS_AUTH" default:"" secret:"true" help:"password for servers, and for clients"`
	RedisDB            int               `env:"REDIS_DB" default:"0" min:"0" help:"database to select on servers"`
	ServerConnections  int               `env:"SERVER_CONNECTIONS" default:"1" min:"1" help:"connections to each server"`
	AutoEjectHosts     bool              `env:"AUTO_EJECT_HOSTS" default:"false" help:"eject a server after SERVER_FAILURE_LIMIT failures in a row"`
	ServerRetryTimeout time.Duration     `env:"SERVER_RETRY_TIMEOUT" default:"30s" help:"time until an ejected server is tried again"`
	ServerFailureLimit int               `env:"SERVER_FAILURE_LIMIT" default:"2" min:"0" help:"failures in a row that eject a server"`
	Eject              Eject             `env:"EJECT" default:"rehash" oneof:"rehash|fail_fast" help:"an ejected server's keys go to others, as in twemproxy, or fail at once; here and below: also for the pools of POOL_FILE that do not say"`
	MGETErrors         MGETErrors        `env:"MGET_ERRORS" default:"per_key" oneof:"per_key|whole" help:"with a shard away, MGET has errors in the place of its keys, or is one error, as in twemproxy"`
	HashBytes          string            `env:"HASH_BYTES" default:"signed" oneof:"signed|unsigned" help:"bytes from 0x80 on are hashed as twemproxy does on x86 (signed), or on ARM"`
	ConnectTimeout     time.Duration     `env:"CONNECT_TIMEOUT" default:"1s" help:"time to connect to a server; 0: no limit"`
	Probe              bool              `env:"PROBE" default:"true" help:"an ejected server must answer a PING before it gets requests again"`
	FailureReplies     []Reply           `env:"FAILURE_REPLIES" default:"LOADING" help:"errors of a server, by their first words, that count as its failures; twemproxy's are OOM,BUSY,LOADING"`
}

// Pools are the pools of the file, or the one of the variables. It may be
// asked again: it reads the file each time. Its error has a line for each mistake.
func (s Settings) Pools() ([]Pool, error) {
	extras := Extras{
		Eject: s.Eject, MGETErrors: s.MGETErrors, UnsignedBytes: s.HashBytes == "unsigned",
		ConnectTimeout: s.ConnectTimeout, Probe: s.Probe, FailureReplies: s.FailureReplies,
	}
	switch {
	case s.PoolFile != "" && len(s.Servers) > 0:
		return nil, errors.New("SERVERS and POOL_FILE are both set, only one is allowed")
	case s.PoolFile != "":
		return Read(s.PoolFile, extras)
	case len(s.Servers) == 0:
		return nil, errors.New("SERVERS: required, or POOL_FILE (host:port:weight of each server)")
	}
	p := Pool{
		Name: s.Name, Listen: s.Listen, ClientConnections: s.ClientConnections, Hash: s.Hash, HashTag: s.HashTag,
		Distribution: s.Distribution, Timeout: s.Timeout, Backlog: s.Backlog, TCPKeepAlive: s.TCPKeepAlive,
		Preconnect: s.Preconnect, Redis: true, RedisAuth: s.RedisAuth, RedisDB: s.RedisDB,
		ServerConnections: s.ServerConnections, AutoEjectHosts: s.AutoEjectHosts,
		ServerRetryTimeout: s.ServerRetryTimeout, ServerFailureLimit: s.ServerFailureLimit,
		Servers: s.Servers, Extras: extras,
	}
	if n := len(p.HashTag); n != 0 && n != 2 {
		return nil, fmt.Errorf("HASH_TAG=%q: not two characters, such as {}", p.HashTag)
	}
	if _, err := p.Ring(); err != nil {
		return nil, fmt.Errorf("SERVERS: %w", err)
	}
	return []Pool{p}, nil
}
