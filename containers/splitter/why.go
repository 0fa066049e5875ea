package main

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"distlab/containers/internal/balance"
)

// Why is the answer to "which arm, and for which reason": that of the very
// code that decides, on a copy of its state.
type Why struct {
	Arm     string   `json:"arm"` // "": none
	Reason  Reason   `json:"reason"`
	Wanted  string   `json:"wanted,omitempty"`  // whose the request is, when it goes to another
	Panic   bool     `json:"panic,omitempty"`   // no arm was usable: any is taken
	Assigns bool     `json:"assigns,omitempty"` // by a cookie, whose value is the client's alone
	Client  string   `json:"client,omitempty"`
	Key     string   `json:"key,omitempty"`
	Steps   []string `json:"steps"` // the arithmetic, a line each
	Arms    []State  `json:"arms"`
}

// State is an arm as it is now.
type State struct {
	Name      string  `json:"name"`
	URL       string  `json:"url"`
	Weight    int     `json:"weight"`
	Share     float64 `json:"share"`
	Up        bool    `json:"up"`
	Healthy   bool    `json:"healthy"`
	Fails     int     `json:"fails"`
	Effective int     `json:"effective_weight"`
	InFlight  int     `json:"in_flight"`
	Down      bool    `json:"down,omitempty"`
	Drain     bool    `json:"drain,omitempty"`
}

func (s *Splitter) states() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set.states()
}

func (t *set) states() []State {
	now := clock()
	list := make([]State, len(t.arms))
	for i, a := range t.arms {
		p := t.peers.Peer(i)
		list[i] = State{
			Name: a.Name, URL: a.URL, Weight: a.spec.Weight, Up: p.Usable(now), Healthy: !p.Unhealthy,
			Fails: p.Fails(), Effective: p.Effective(), InFlight: p.Conns(), Down: a.spec.Down, Drain: a.spec.Drain,
		}
		if total := t.peers.Total(); total > 0 {
			list[i].Share = float64(p.Weight) / float64(total)
		}
	}
	return list
}

// Why says where a request would go now. It changes nothing.
func (s *Splitter) Why(f *Facts) Why {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := &set{s.set.arms, s.set.peers.Clone()}
	w := Why{Arms: s.set.states()}
	if f.Client.IsValid() {
		w.Client = f.Client.String()
	}
	d := copied.decide(&s.Rules, f, clock())
	w.Reason, w.Panic = d.Reason, d.Panic
	if d.Arm != nil {
		w.Arm = d.Arm.Name
	}
	if d.Wanted != nil {
		w.Wanted = d.Wanted.Name
	}
	w.Assigns = d.Assign
	w.explain(s.set, &s.Rules, f)
	return w
}

func (w *Why) say(format string, args ...any) {
	w.Steps = append(w.Steps, fmt.Sprintf(format, args...))
}

// explain writes the steps of decide, in its order.
func (w *Why) explain(t *set, r *Rules, f *Facts) {
	if i := r.Override.find(t, f); i >= 0 {
		w.say("the request names arm %q, and may", t.arms[i].Name)
		return
	}
	i, reason := r.Sticky.find(t, f)
	switch {
	case i >= 0 && reason == ByCookie:
		w.say("cookie %s says %q", r.Sticky.Cookie, t.arms[i].Name)
	case i >= 0:
		value := f.Client.String()
		if reason == ByHeader {
			value = f.Header.Get(r.Sticky.Header)
		}
		w.Key = r.Sticky.Salt + value
		w.explainShare(t, w.Key)
	case r.Sticky.Kind != "none" && r.Sticky.Kind != "":
		w.say("sticky by %s: the request says nothing, so the balance decides", r.Sticky.Kind)
	}
	if i >= 0 {
		if p := t.peers.Peer(i); p.Usable(clock()) || !r.Fallback {
			return
		}
		w.say("arm %q cannot be used now: the balance decides among the others", t.arms[i].Name)
	}
	w.explainBalance(t, r, f)
}

func (w *Why) explainBalance(t *set, r *Rules, f *Facts) {
	total := t.peers.Total()
	switch r.Balance {
	case "smooth":
		w.say("smooth weighted round robin: the arm with the highest current weight is next; this is the next one, another request may take it")
	case "ip_hash":
		h := balance.IPHashOf(f.Client)
		w.say("ip_hash of the first %s of %s = %d; %d mod %d (all weights) = %d", ipBytes(f.Client), f.Client, h, h, total, mod(h, total))
		w.explainRange(t, mod(h, total))
	default:
		w.Key = string(r.Key.Append(nil, f))
		w.say("%s is %q", r.Key, w.Key)
		switch {
		case r.Balance == "split_clients":
			w.explainShare(t, w.Key)
		case w.Key == "":
			w.say("an empty key has no place: round robin")
		case r.Balance == "hash":
			c := crc32.ChecksumIEEE([]byte(w.Key))
			h := c >> 16 & 0x7fff
			w.say("crc32 = %d; (crc32 >> 16) & 0x7fff = %d; mod %d (all weights) = %d", c, h, total, mod(h, total))
			w.explainRange(t, mod(h, total))
		case r.Balance == "consistent":
			h := crc32.ChecksumIEEE([]byte(w.Key))
			point, i, n := t.peers.PointOf([]byte(w.Key))
			if i >= 0 {
				w.say("crc32 = %d; the next of %d points is %d, of arm %q", h, n, point, t.arms[i].Name)
			}
		}
	}
	if w.Reason == ByFallback {
		w.say("that arm cannot be used now: the next one that can is %q", w.Arm)
	}
}

func mod(h uint32, total int) int {
	if total == 0 {
		return 0
	}
	return int(h % uint32(total))
}

func ipBytes(a netip.Addr) string {
	if a.Is6() {
		return "16 bytes"
	}
	return "3 bytes"
}

// explainRange says whose range of the weights holds w.
func (w *Why) explainRange(t *set, at int) {
	low := 0
	for i, a := range t.arms {
		high := low + t.peers.Peer(i).Weight
		if low <= at && at < high {
			w.say("%d is in %d to %d, the range of arm %q", at, low, high-1, a.Name)
		}
		low = high
	}
}

// explainShare is split_clients.
func (w *Why) explainShare(t *set, key string) {
	h := balance.Murmur2([]byte(key))
	w.say("murmur2(%q) = %d", key, h)
	i := t.peers.Share([]byte(key))
	for j, limit := range t.peers.Thresholds() {
		switch {
		case t.peers.Peer(j).Weight == 0:
		case j == i && limit == 0:
			w.say("the rest is arm %q's", t.arms[j].Name)
		case j == i:
			w.say("%d < %d, the end of arm %q's share", h, limit, t.arms[j].Name)
		case j < i:
			w.say("%d >= %d, the end of arm %q's share", h, limit, t.arms[j].Name)
		}
	}
}

// whyFacts makes a request of a query: ?address=10.0.0.7&path=/a?b=c&method=GET
// &host=shop&header=X-User: 42&cookie=split=experiment.
func whyFacts(q url.Values) (*Facts, error) {
	header := http.Header{}
	f := &Facts{Method: "GET", Target: "/", Path: "/", Header: header}
	for name, values := range q {
		for _, v := range values {
			switch name {
			case "address":
				addr, err := netip.ParseAddr(v)
				if err != nil {
					return nil, fmt.Errorf("address=%s: not an address like 10.0.0.7", strconv.Quote(v))
				}
				f.Client = addr.Unmap().WithZone("")
			case "path":
				f.SetTarget(v)
			case "method":
				f.Method = v
			case "host":
				f.Host = v
			case "header":
				key, value, ok := strings.Cut(v, ":")
				if !ok {
					return nil, fmt.Errorf("header=%s: not like X-User: 42", strconv.Quote(v))
				}
				header.Add(textproto.CanonicalMIMEHeaderKey(key), strings.TrimSpace(value))
			case "cookie":
				if old := header.Get("Cookie"); old != "" {
					v = old + "; " + v
				}
				header.Set("Cookie", v)
			default:
				return nil, fmt.Errorf("%s: none of address, path, method, host, header, cookie", strconv.Quote(name))
			}
		}
	}
	return f, nil
}
