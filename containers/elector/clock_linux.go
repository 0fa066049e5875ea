package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// boot is Linux' CLOCK_BOOTTIME. Go's own monotonic clock stands still while the machine sleeps.
func boot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return time.Since(began)
	}
	return time.Duration(t.Nano())
}
