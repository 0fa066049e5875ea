package main

import "distlab/containers/internal/balance"

// Facts are what a decision rests on, Key what is hashed of them.
type (
	Facts = balance.Facts
	Key   = balance.Key
)
