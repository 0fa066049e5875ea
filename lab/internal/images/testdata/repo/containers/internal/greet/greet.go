// Package greet is shared by the test's containers.
package greet

// Text is what they print.
const Text = "hello"
