package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// sourceURL is where the configuration comes from.
type sourceURL struct {
	url.URL
	folder    string   // of a folder
	endpoints []string // of etcd
}

const aSource = "http://HOST/PATH, https://…, etcd://HOST:2379,HOST:2379/PREFIX/, etcds://… or the path of a folder"

// UnmarshalText parses it.
func (s *sourceURL) UnmarshalText(text []byte) error {
	if filepath.IsAbs(string(text)) {
		s.folder = filepath.Clean(string(text))
		return nil
	}
	// Several hosts are no URL's, but for their commas.
	scheme, rest, _ := strings.Cut(string(text), "://")
	hosts, path, _ := strings.Cut(rest, "/")
	switch scheme {
	case "http", "https":
		u, err := url.Parse(string(text))
		if err != nil || u.Host == "" || u.Fragment != "" {
			return errors.New("not " + aSource)
		}
		s.URL = *u
	case "etcd", "etcds":
		if path == "" || strings.ContainsAny(rest, "?#@") {
			return errors.New("not " + aSource)
		}
		for host := range strings.SplitSeq(hosts, ",") {
			u, err := url.Parse(strings.Replace(scheme, "etcd", "http", 1) + "://" + host)
			if err != nil || u.Hostname() == "" || u.Port() == "" {
				return errors.New("not " + aSource)
			}
			s.endpoints = append(s.endpoints, u.String())
		}
		s.URL = url.URL{Scheme: scheme, Host: hosts, Path: "/" + strings.TrimRight(path, "/") + "/"}
	default:
		return errors.New("not " + aSource)
	}
	return nil
}

// String is it without a password.
func (s *sourceURL) String() string {
	if s.folder != "" {
		return s.folder
	}
	return s.Redacted()
}

// SettingType names the type in the documentation.
func (*sourceURL) SettingType() (name, want string) { return "source", aSource }

// tellWay is how the app is told.
type tellWay struct {
	signal syscall.Signal
	url    string
	nobody bool
}

// signals are those that a program may take for "reload", or that end it so that its restart policy starts it again.
var signals = map[string]syscall.Signal{
	"SIGHUP": syscall.SIGHUP, "SIGUSR1": syscall.SIGUSR1, "SIGUSR2": syscall.SIGUSR2, "SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT,
	"SIGQUIT": syscall.SIGQUIT, "SIGKILL": syscall.SIGKILL, "SIGABRT": syscall.SIGABRT, "SIGWINCH": syscall.SIGWINCH, "SIGCONT": syscall.SIGCONT,
}

func signalName(sig syscall.Signal) string {
	for name, s := range signals {
		if s == sig {
			return name
		}
	}
	return strconv.Itoa(int(sig))
}

const aTell = "a signal like SIGHUP, a URL like http://127.0.0.1:9090/-/reload, or nobody"

// UnmarshalText parses it.
func (t *tellWay) UnmarshalText(text []byte) error {
	if string(text) == "nobody" {
		t.nobody = true
		return nil
	}
	if sig, ok := signals[string(text)]; ok {
		t.signal = sig
		return nil
	}
	u, err := url.Parse(string(text))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("not " + aTell)
	}
	t.url = string(text)
	return nil
}

// SettingType names the type in the documentation.
func (*tellWay) SettingType() (name, want string) { return "way", aTell }

// command is a program and its arguments. No shell reads it.
type command []string

const aCommand = `a command like "/tools/app check {dir}/app.conf", or as JSON: ["/tools/app", "check it"]`

// UnmarshalText parses words, or a JSON array.
func (c *command) UnmarshalText(text []byte) error {
	if strings.HasPrefix(string(text), "[") {
		if json.Unmarshal(text, (*[]string)(c)) != nil || len(*c) == 0 || (*c)[0] == "" {
			return errors.New("not " + aCommand)
		}
		return nil
	}
	*c = strings.Fields(string(text))
	return nil
}

// SettingType names the type in the documentation.
func (*command) SettingType() (name, want string) { return "command", aCommand }

// expression is a regular expression; none matches nothing.
type expression struct{ *regexp.Regexp }

// UnmarshalText compiles it.
func (e *expression) UnmarshalText(text []byte) (err error) {
	if len(text) > 0 {
		if e.Regexp, err = regexp.Compile(string(text)); err != nil {
			return fmt.Errorf("not a regular expression: %w", err)
		}
	}
	return nil
}

// SettingType names the type in the documentation.
func (*expression) SettingType() (name, want string) {
	return "regular expression", "a regular expression like ^nginx: master"
}

// fileMode is the rights of a file.
type fileMode fs.FileMode

const aMode = "the rights of a file like 0644"

// UnmarshalText parses octal digits.
func (m *fileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 || n&0o400 == 0 {
		return errors.New("not " + aMode)
	}
	*m = fileMode(n)
	return nil
}

// SettingType names the type in the documentation.
func (*fileMode) SettingType() (name, want string) { return "mode", aMode }
