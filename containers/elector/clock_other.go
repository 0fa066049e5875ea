//go:build !linux

package main

import "time"

func boot() time.Duration { return time.Since(began) }
