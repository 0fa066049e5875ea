// Package e2e tests the `lab` command on the real engine, as a person would use it: it is started as a process of its
// own, interrupted, killed, and run twice at a time, on small labs made for that (testdata/labs).
package e2e
