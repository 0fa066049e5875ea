package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

// Trouble is what a replica does wrong on purpose, so that one can see how those who ask it cope. /readyz tells of
// Unready alone: a replica in other trouble believes that it is well.
type Trouble struct {
	Unready bool              `json:"unready,omitempty"` // /readyz says no; answers go on
	Status  int               `json:"status,omitempty"`  // in place of an answer
	Cut     bool              `json:"cut,omitempty"`     // the connection ends in place of an answer
	Delay   Length            `json:"delay,omitempty"`   // before an answer
	Share   float64           `json:"share,omitempty"`   // of the requests that get status, cut or delay; 0: all
	Path    string            `json:"path,omitempty"`    // only this path has trouble; "": all, but /readyz
	Header  map[string]string `json:"header,omitempty"`  // set on answers, in place of their own
	For     Length            `json:"for,omitempty"`     // and then it is over; 0: until told otherwise
}

// Length is a duration, written 2s.
type Length time.Duration

// MarshalText writes it.
func (l Length) MarshalText() ([]byte, error) { return []byte(time.Duration(l).String()), nil }

// UnmarshalText reads it.
func (l *Length) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 || d > time.Hour {
		return fmt.Errorf("%.20q is not a duration of up to an hour, like 2s", text)
	}
	*l = Length(d)
	return nil
}

const maxHeaders = 16

func (t Trouble) check() error {
	var bad []error
	add := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if t.Status != 0 && (t.Status < 200 || t.Status > 599) {
		add("status=%d: is none from 200 to 599", t.Status)
	}
	if t.Status != 0 && t.Cut {
		add("status and cut: one of them")
	}
	if !(t.Share >= 0 && t.Share <= 1) {
		add("share=%v: is not from 0 to 1", t.Share)
	}
	if t.Path != "" && !strings.HasPrefix(t.Path, "/") {
		add("path=%.40q: does not begin with /", t.Path)
	}
	if len(t.Header) > maxHeaders {
		add("more than %d headers", maxHeaders)
	}
	for name, value := range t.Header {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			add("header %.40q: %.40q: is none", name, value)
		}
	}
	return errors.Join(bad...)
}

// parseTrouble reads words: unready=true status=500 cut=true delay=2s share=0.5 path=/cat for=10s
// header:Cache-Control=private.
func parseTrouble(words []string) (t Trouble, err error) {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		name, isHeader := strings.CutPrefix(key, "header:")
		switch {
		case isHeader:
			if t.Header == nil {
				t.Header = map[string]string{}
			}
			t.Header[name] = value
		case key == "unready":
			t.Unready, err = strconv.ParseBool(value)
		case key == "cut":
			t.Cut, err = strconv.ParseBool(value)
		case key == "status":
			t.Status, err = strconv.Atoi(value)
		case key == "share":
			t.Share, err = strconv.ParseFloat(value, 64)
		case key == "path":
			t.Path = value
		case key == "delay":
			err = t.Delay.UnmarshalText([]byte(value))
		case key == "for":
			err = t.For.UnmarshalText([]byte(value))
		default:
			return Trouble{}, fmt.Errorf("%.40q is none of %s, with = and a value", w, troubles)
		}
		if err != nil {
			return Trouble{}, fmt.Errorf("%.40q: %s wants another value", w, key)
		}
	}
	return t, t.check()
}

const troubles = "unready, status, cut, delay, share, path, for, header:NAME"

// Switch holds the trouble of now. The zero Switch has none.
type Switch struct {
	mu    sync.Mutex
	now   Trouble
	until time.Time // zero: for good
}

// Beginning is the setting: whether trouble can be made at all, and what there is at the start.
type Beginning struct {
	On      bool
	Trouble Trouble
}

// UnmarshalText reads off, none, or the words of a trouble.
func (b *Beginning) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if slices.Equal(words, []string{"off"}) {
		*b = Beginning{}
		return nil
	}
	if slices.Equal(words, []string{"none"}) {
		words = nil
	}
	t, err := parseTrouble(words)
	if err != nil {
		return err
	}
	*b = Beginning{On: true, Trouble: t}
	return nil
}

// SettingType names the type in the documentation.
func (*Beginning) SettingType() (name, want string) {
	return "trouble", "off, none, or trouble like status=500 share=0.5"
}

// Set is the trouble from now on.
func (s *Switch) Set(t Trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.until = t, time.Time{}
	if t.For > 0 {
		s.until = time.Now().Add(time.Duration(t.For))
	}
}

// Now is the trouble of now.
func (s *Switch) Now() Trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.until.IsZero() && time.Now().After(s.until) {
		s.now, s.until = Trouble{}, time.Time{}
	}
	return s.now
}

// For is the trouble that a request to a path has.
func (s *Switch) For(path string) Trouble {
	t := s.Now()
	if t.Path != "" && t.Path != path {
		return Trouble{}
	}
	if t.Share > 0 && rand.Float64() >= t.Share {
		t.Status, t.Cut, t.Delay = 0, false, 0
	}
	return t
}

// Handle puts /trouble on the admin port: GET shows it, PUT makes it, DELETE ends it.
func (s *Switch) Handle(p *daemon.Process) {
	h := s.handler(func(t Trouble) { p.Log.Warn("trouble", "trouble", t) })
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		p.Handle(method+" /trouble", h)
	}
}

const maxTrouble = 16 << 10

func (s *Switch) handler(changed func(Trouble)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut:
			var t Trouble
			dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTrouble))
			dec.DisallowUnknownFields()
			err := dec.Decode(&t)
			if err == nil && dec.More() {
				err = errors.New("more than one value")
			}
			if err == nil {
				err = t.check()
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			s.Set(t)
			changed(t)
		case http.MethodDelete:
			s.Set(Trouble{})
			changed(Trouble{})
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.Now())
	})
}

// trouble is the command: an image without a shell has nothing else to ask its own admin port with.
func trouble(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintf(stderr, "dictionary: trouble none, or some of %s, with = and a value\n", troubles)
		return 2
	}
	if slices.Equal(args, []string{"none"}) {
		args = nil
	}
	t, err := parseTrouble(args)
	if err != nil {
		fmt.Fprintf(stderr, "dictionary: trouble: %v\n", err)
		return 2
	}
	addr := env.Addr(":9090")
	if set := os.Getenv("ADMIN_ADDR"); set != "" {
		if err := addr.UnmarshalText([]byte(set)); err != nil {
			fmt.Fprintf(stderr, "dictionary: ADMIN_ADDR: %v\n", err)
			return 2
		}
	}
	said, err := put(ctx, addr, t)
	if err != nil {
		fmt.Fprintf(stderr, "dictionary: trouble: %v\n", err)
		return 1
	}
	fmt.Fprintln(stdout, said)
	return 0
}

// put asks the admin port of this container's program.
func put(ctx context.Context, addr env.Addr, t Trouble) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(string(addr))
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	url := "http://" + net.JoinHostPort(host, port) + "/trouble"
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxTrouble))
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode == http.StatusNotFound:
		return "", errors.New("it makes none: set TROUBLE=none, and it will")
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return string(bytes.TrimSpace(text)), nil
}
