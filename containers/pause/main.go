// Pause holds the namespaces of a pod: it waits to be stopped, and buries the
// dead.
//
// The containers of a pod share a network namespace, which lives as long as
// the container that made it. If that were the app, a restart of the app would
// take the network from its sidecar; so a container that does nothing, and so
// never restarts, owns it. If the pod shares its PID namespace too, this is
// its PID 1, and orphans become its children: it reaps them, which their
// containers cannot.
//
//	services:
//	  pod: {image: distlab/pause:dev, ports: ["127.0.0.1::8443"]}
//	  app: {image: app, network_mode: "service:pod", pid: "service:pod"}
//
// It does without containers/internal/daemon, alone of all containers: there
// is nothing to set, to drain, to be ready for or to measure, and an admin
// port in it would be an open port in every pod. What is left is 1.4 MB.
//
// Source: Kubernetes' build/pause/linux/pause.c.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

const usage = `Pause holds the namespaces of a pod: it waits for SIGTERM and reaps orphans.

Usage: pause

It has no settings, no commands and no ports.
`

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	switch {
	case len(args) == 0:
		wait()
		return 0
	case args[0] == "-h", args[0] == "--help", args[0] == "help":
		os.Stdout.WriteString(usage)
		return 0
	}
	os.Stderr.WriteString("pause: takes no arguments, not \"" + args[0] + "\"\nhint: pause -h\n")
	return 2
}

// wait returns at SIGTERM or SIGINT. SIGHUP must not kill it: a reload that is
// sent to all of a pod's processes reaches it too.
func wait() {
	stop, child := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(child, syscall.SIGCHLD)
	signal.Ignore(syscall.SIGHUP)
	for {
		reap() // also what ended before the signal was caught
		select {
		case <-stop:
			return
		case <-child:
		}
	}
}

// reap collects every child that has ended. One SIGCHLD can stand for many.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
