//go:build !linux

package main

import "time"

// threadTime is the wall clock's, where the thread's own cannot be had: the image is Linux's.
func threadTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
