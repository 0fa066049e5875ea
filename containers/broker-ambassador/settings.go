package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
	"distlab/containers/internal/etcd"
)

type config struct {
	Services        []string      `env:"SERVICES" help:"what the app finds where: a list of NAME=ADDRESS, such as redis=127.0.0.1:6379"`
	Select          []string      `env:"SELECT" default:"" help:"labels that an instance must have, all of them: a list of KEY=VALUE, such as env=staging; needed but with SOURCE=dns, where the name says it"`
	Source          string        `env:"SOURCE" default:"etcd" oneof:"etcd|dns|file" help:"the registry"`
	EtcdEndpoints   []string      `env:"ETCD_ENDPOINTS" default:"http://etcd:2379" help:"etcd's addresses, tried in turn"`
	EtcdPrefix      string        `env:"ETCD_PREFIX" default:"/services/" help:"what the keys of registrations begin with; then come the service, a slash and the instance's ID"`
	DNSNames        []string      `env:"DNS_NAMES" default:"" help:"with SOURCE=dns, a list of NAME=HOST:PORT (all addresses of the host) or NAME=RECORD (an SRV record)"`
	DNSServer       string        `env:"DNS_SERVER" default:"" help:"host:port to ask; without it the first of /etc/resolv.conf"`
	DNSMin          time.Duration `env:"DNS_MIN" default:"1s" min:"10ms" help:"how long an answer holds at least, whatever its TTL"`
	DNSMax          time.Duration `env:"DNS_MAX" default:"10s" min:"10ms" help:"how long an answer holds at most, whatever its TTL"`
	FilePath        string        `env:"FILE_PATH" default:"" help:"with SOURCE=file, a JSON file"`
	FileInterval    time.Duration `env:"FILE_INTERVAL" default:"1s" min:"10ms" help:"how often the file is read"`
	Relist          time.Duration `env:"RELIST" default:"30s" min:"100ms" help:"etcd is read whole that often though it tells of no change, which also finds out that it does not answer any more"`
	RegistryTimeout time.Duration `env:"REGISTRY_TIMEOUT" default:"2s" min:"10ms" help:"how long an answer of the registry may take"`
	RegistryPause   time.Duration `env:"REGISTRY_PAUSE" default:"500ms" min:"10ms" help:"pause after a failure of the registry"`
	Keep            time.Duration `env:"KEEP" default:"24h" help:"how long the last good answer is used while the registry does not answer, or is not believed"`
	Empty           string        `env:"EMPTY" default:"keep" oneof:"keep|believe" help:"what to do when the registry says that there is no instance any more: keep the last, or believe it"`
	StateFile       string        `env:"STATE_FILE" default:"" help:"where the last good answer is kept over a restart; without it in memory alone"`
	Checks          []string      `env:"CHECKS" default:"" help:"how to see that an instance works, a list of NAME=CHECK: tcp, none or SEND:EXPECT, such as redis=PING:+PONG; tcp where nothing is said"`
	CheckInterval   time.Duration `env:"CHECK_INTERVAL" default:"1s" min:"10ms" help:"how often each instance is checked"`
	CheckTimeout    time.Duration `env:"CHECK_TIMEOUT" default:"1s" min:"10ms" help:"how long a check may take"`
	CheckFall       int           `env:"CHECK_FALL" default:"2" min:"1" max:"100" help:"failed checks in a row after which an instance is not used; a failed connection is enough by itself"`
	ConnectTimeout  time.Duration `env:"CONNECT_TIMEOUT" default:"1s" min:"10ms" help:"how long connecting to an instance may take; then the next is tried"`
	LeaveTimeout    time.Duration `env:"LEAVE_TIMEOUT" default:"30s" help:"how long the connections of an instance that has left the registry may go on"`
	MaxConnections  int           `env:"MAX_CONNECTIONS" default:"1024" min:"1" max:"100000" help:"most connections of the app, over all services; lowered at the start to what file descriptors bear"`
	daemon.Config
}

// pairs reads a list of KEY=VALUE.
func pairs(setting string, list []string) (keys []string, values map[string]string, err error) {
	values = map[string]string{}
	for _, one := range list {
		k, v, ok := strings.Cut(one, "=")
		if !ok || !plain(k) || strings.Contains(k, "/") || v == "" {
			return nil, nil, fmt.Errorf("%s=%q: not NAME=VALUE", setting, one)
		}
		if _, twice := values[k]; twice {
			return nil, nil, fmt.Errorf("%s: %s is named twice", setting, k)
		}
		keys, values[k] = append(keys, k), v
	}
	return keys, values, nil
}

// plan is the settings, read.
type plan struct {
	names  []string
	listen map[string]string
	label  Selector
	dns    map[string]string
	checks map[string]Check
}

// Check says what does not go together.
func (c config) Check() error {
	_, err := c.plan()
	return err
}

func (c config) plan() (p plan, err error) {
	var errs []error
	read := func(setting string, list []string) (keys []string, values map[string]string) {
		keys, values, err := pairs(setting, list)
		errs = append(errs, err)
		for _, k := range keys {
			if _, ok := p.listen[k]; setting != "SERVICES" && setting != "SELECT" && !ok {
				errs = append(errs, fmt.Errorf("%s: SERVICES has no %s", setting, k))
			}
		}
		return keys, values
	}
	p.names, p.listen = read("SERVICES", c.Services)
	for name, address := range p.listen {
		if err := new(env.Addr).UnmarshalText([]byte(address)); err != nil {
			errs = append(errs, fmt.Errorf("SERVICES: %s=%q: %w", name, address, err))
		}
	}
	_, p.label = read("SELECT", c.Select)
	_, p.dns = read("DNS_NAMES", c.DNSNames)
	_, checks := read("CHECKS", c.Checks)
	p.checks = map[string]Check{}
	for _, name := range p.names {
		p.checks[name] = Check{Kind: "tcp"}
		if text, ok := checks[name]; ok {
			check, err := ParseCheck(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("CHECKS: %s: %w", name, err))
			}
			p.checks[name] = check
		}
	}
	return p, errors.Join(append(errs, c.registry(p))...)
}

// registry checks what belongs to one kind of registry.
func (c config) registry(p plan) error {
	var errs []error
	if c.Source != "dns" && len(p.label) == 0 {
		errs = append(errs, errors.New("SELECT is not set: no environment is everybody's"))
	}
	if c.Source == "dns" && len(p.label) > 0 {
		errs = append(errs, errors.New("SELECT is set, and DNS knows no labels: DNS_NAMES say which environment it is"))
	}
	switch c.Source {
	case "etcd":
		errs = append(errs, etcd.CheckEndpoints(c.EtcdEndpoints))
		if c.EtcdPrefix == "" {
			errs = append(errs, errors.New("ETCD_PREFIX is empty: not all keys are registrations"))
		}
	case "dns":
		for _, name := range p.names {
			if p.dns[name] == "" {
				errs = append(errs, fmt.Errorf("DNS_NAMES has no %s", name))
			} else if _, err := newQuestion(p.dns[name], 0); err != nil {
				errs = append(errs, fmt.Errorf("DNS_NAMES: %s: %w", name, err))
			}
		}
		if c.DNSMin > c.DNSMax {
			errs = append(errs, errors.New("DNS_MIN is more than DNS_MAX"))
		}
	case "file":
		if c.FilePath == "" {
			errs = append(errs, errors.New("FILE_PATH is not set"))
		}
	}
	return errors.Join(errs...)
}
