package main

import "time"

// Clock is a time that only goes forward, since some moment, at a rate: 1 but in a drill. It counts while the machine
// sleeps, where the system can tell: a lease ends meanwhile, too.
func Clock(rate float64) func() time.Duration {
	return func() time.Duration { return time.Duration(rate * float64(boot())) }
}

var began = time.Now()
