package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"distlab/containers/internal/balance"
)

// UnmarshalText parses a member, a word for each that is not a default: `web-1:8080 weight=2 max_conns=100 drain`.
func (m *Member) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return errors.New("no replica")
	}
	member := Member{Addr: words[0], Weight: 1}
	if err := checkAddr(member.Addr); err != nil {
		return err
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(value)
		switch {
		case word == "drain":
			member.Drain = true
		case key == "weight" && err == nil && n >= 0 && n <= 1000:
			member.Weight = n
		case key == "max_conns" && err == nil && n >= 0 && n <= math.MaxInt32:
			member.MaxConns = n
		default:
			return fmt.Errorf("replica %s: %q is none of weight=0 to 1000, max_conns=N, drain", member.Addr, word)
		}
	}
	*m = member
	return nil
}

// SettingType names the type in the documentation.
func (*Member) SettingType() (name, want string) {
	return "replica", "a replica like web-1:8080 weight=2"
}

func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || bad != nil || n == 0 {
		return fmt.Errorf("%q is not host:port", addr)
	}
	return nil
}

// checkMembers finds what is wrong with a list.
func checkMembers(members []Member) error {
	seen := map[string]bool{}
	for _, m := range members {
		if seen[m.Addr] {
			return fmt.Errorf("replica %s is named twice", m.Addr)
		}
		seen[m.Addr] = true
	}
	switch {
	case len(members) == 0:
		return errors.New("no replica")
	case len(members) > balance.MaxPeers:
		return fmt.Errorf("%d replicas: not more than %d", len(members), balance.MaxPeers)
	}
	return nil
}

// parseMembers reads a file: a line for each replica, # begins a comment.
func parseMembers(text string) ([]Member, error) {
	var members []Member
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var m Member
		if err := m.UnmarshalText([]byte(line)); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		members = append(members, m)
	}
	return members, checkMembers(members)
}

// Membership keeps the pool's members those that a file or a name says. What cannot be read, and an answer without an
// address, is not believed: the replicas that were known stay, and their checks decide.
type Membership struct {
	Pool     *Pool
	Path     string // a file; "": none
	Name     string // host:port, of which every address is a replica; "": none
	Interval time.Duration
	Lookup   func(ctx context.Context, host string) ([]netip.Addr, error)
	Log      *slog.Logger
	Metrics  *Metrics

	mu    sync.Mutex
	known []Member
	err   error // of the last try
	when  time.Time
}

// Start is the first reading: from a file it must succeed, while a name may come to be.
func (ms *Membership) Start(ctx context.Context, list []Member) error {
	switch {
	case ms.Path != "":
		if err := ms.look(ctx, "start"); err != nil {
			return fmt.Errorf("%s: %w", ms.Path, err)
		}
	case ms.Name != "":
		ms.Pool.Set(nil)
		ms.look(ctx, "start")
	default:
		ms.known, ms.when = list, time.Now()
		ms.Pool.Set(list)
	}
	return nil
}

const maxFile = 1 << 20

func (ms *Membership) read(ctx context.Context) ([]Member, error) {
	if ms.Path != "" {
		info, err := os.Stat(ms.Path)
		switch {
		case err != nil:
			return nil, errors.Unwrap(err)
		case !info.Mode().IsRegular() || info.Size() > maxFile:
			return nil, errors.New("not a file of less than 1 MiB")
		}
		text, err := os.ReadFile(ms.Path)
		if err != nil {
			return nil, errors.Unwrap(err)
		}
		return parseMembers(string(text))
	}
	host, port, _ := net.SplitHostPort(ms.Name)
	within, cancel := context.WithTimeout(ctx, max(ms.Interval, time.Second))
	defer cancel()
	addrs, err := ms.Lookup(within, host)
	if err != nil {
		return nil, err
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	var members []Member
	for _, a := range addrs {
		members = append(members, Member{Addr: netip.AddrPortFrom(a.Unmap(), uint16(n)).String(), Weight: 1})
	}
	// The order of an answer says nothing, and changes.
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Addr, b.Addr) })
	members = slices.Compact(members)
	if len(members) > balance.MaxPeers {
		ms.Log.Warn("too many replicas", "name", ms.Name, "addresses", len(members), "used", balance.MaxPeers)
		members = members[:balance.MaxPeers]
	}
	return members, checkMembers(members)
}

// look reads once, and puts in force what is new.
func (ms *Membership) look(ctx context.Context, why string) error {
	members, err := ms.read(ctx)
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if news := (err == nil) != (ms.err == nil) || err != nil && err.Error() != ms.err.Error(); err != nil && news {
		ms.Log.Warn("replicas not read", "why", why, "error", err, "kept", len(ms.known))
	}
	ms.err, ms.when = err, time.Now()
	ms.Metrics.read(err == nil)
	if err != nil || slices.Equal(members, ms.known) {
		return err
	}
	ms.known = members
	ms.Pool.Set(members)
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.Addr
	}
	ms.Log.Info("replicas", "why", why, "replicas", list)
	return nil
}

// Run reads again at each interval, when the file changes, and on demand, until ctx ends.
func (ms *Membership) Run(ctx context.Context, reload <-chan struct{}) {
	var events <-chan fsnotify.Event
	var ticks <-chan time.Time
	if ms.Path != "" {
		if w, err := fsnotify.NewWatcher(); err == nil {
			defer w.Close()
			if w.Add(filepath.Dir(ms.Path)) == nil { // the folder: a file that is renamed over takes its own watch with it
				events = w.Events
			}
		}
	}
	if ms.Path != "" || ms.Name != "" {
		ticker := time.NewTicker(ms.Interval)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
			ms.look(ctx, "SIGHUP")
		case <-events:
			ms.look(ctx, "change")
		case <-ticks:
			ms.look(ctx, "interval")
		}
	}
}

// Last is the error of the last reading, and when that was.
func (ms *Membership) Last() (time.Time, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.when, ms.err
}

// lookup asks the system's resolver for both families.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
