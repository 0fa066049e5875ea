package main

import (
	"errors"
	"net/url"
	"syscall"
)

// probeURL is an http or https URL with a host.
type probeURL struct{ url.URL }

// UnmarshalText parses it.
func (u *probeURL) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return errors.New("not " + aURL)
	}
	u.URL = *parsed
	return nil
}

const aURL = "a URL like http://127.0.0.1:9200/livez"

// SettingType names the type in the documentation.
func (*probeURL) SettingType() (name, want string) { return "URL", aURL }

// stopSignals are those that programs take for "end".
var stopSignals = map[string]syscall.Signal{
	"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT, "SIGQUIT": syscall.SIGQUIT, "SIGHUP": syscall.SIGHUP,
	"SIGABRT": syscall.SIGABRT, "SIGWINCH": syscall.SIGWINCH, "SIGKILL": syscall.SIGKILL,
}

// stopSignal is a signal by its name.
type stopSignal struct{ syscall.Signal }

// UnmarshalText knows those that end programs.
func (s *stopSignal) UnmarshalText(text []byte) error {
	sig, ok := stopSignals[string(text)]
	if !ok {
		return errors.New("not " + aSignal)
	}
	s.Signal = sig
	return nil
}

const aSignal = "SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGABRT, SIGWINCH or SIGKILL"

// SettingType names the type in the documentation.
func (*stopSignal) SettingType() (name, want string) { return "signal", aSignal }
