package main

import (
	"net/http"
	"os"
	"strconv"
	"strings"
)

// Seen is a process as the kernel describes it to this one, and what rights it has: a second opinion on what others in
// the same PID namespace say.
type Seen struct {
	PID          int    `json:"pid"`
	Name         string `json:"name"`
	User         string `json:"user"`         // effective
	Capabilities string `json:"capabilities"` // effective, in hex
	Permitted    string `json:"permitted"`
	Bounding     string `json:"bounding"`
	NoNewPrivs   string `json:"no_new_privileges"`
	Namespaces   string `json:"pid_in_namespaces"` // its PID in each namespace, the innermost last
	Resident     string `json:"resident"`
}

// getProcesses lists every process of the PID namespace.
func getProcesses(w http.ResponseWriter, _ *http.Request) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	list := []Seen{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := look("/proc/" + e.Name()); ok {
			s.PID = pid
			list = append(list, s)
		}
	}
	writeJSON(w, list)
}

// look reads one; ok is false if it has ended.
func look(dir string) (s Seen, ok bool) {
	name, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return s, false
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return s, false
	}
	s.Name = strings.TrimSuffix(string(name), "\n")
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Uid":
			if ids := strings.Fields(value); len(ids) > 1 {
				s.User = ids[1]
			}
		case "CapEff":
			s.Capabilities = value
		case "CapPrm":
			s.Permitted = value
		case "CapBnd":
			s.Bounding = value
		case "NoNewPrivs":
			s.NoNewPrivs = value
		case "NSpid":
			s.Namespaces = value
		case "VmRSS":
			s.Resident = value
		}
	}
	return s, true
}
