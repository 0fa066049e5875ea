package main

import (
	"errors"
	"syscall"

	"distlab/containers/internal/procs"
)

// errFirst says that the kernel would not let a signal through: the first process of a PID namespace gets from inside
// only those that it asked for, and never SIGKILL.
var errFirst = errors.New("the target is process 1 of the PID namespace and cannot be killed from inside: let a pause container own the namespace")

// Namespace finds the target among the processes that share the PID namespace.
type Namespace struct {
	procs.Table
	Names []string // of the target, the first that is there
}

// Find is the target: the oldest process of that name. A second one, run by somebody in its container, is younger.
func (n *Namespace) Find() (procs.Process, bool, error) {
	// Process 1 is found too: it is what is meant where somebody shares the namespace of the server itself, and then nobody
	// else is.
	found, err := n.Table.Find(procs.Selector{Names: n.Names, First: true})
	if err != nil || len(found) == 0 {
		return procs.Process{}, false, err
	}
	return found[0], true, nil
}

// Signal is the table's. Process 1 is not signalled, not even to ask whether it might be: it could not be ended.
func (n *Namespace) Signal(p procs.Process, sig syscall.Signal) error {
	if p.PID == 1 {
		return errFirst
	}
	return n.Table.Signal(p, sig)
}
