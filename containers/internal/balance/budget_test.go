package balance

import (
	"fmt"
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	b := Budget{Ratio: 0.5, PerSecond: 1}
	now := time.Second
	spend := func() (n int) {
		for b.Withdraw(now) {
			n++
		}
		return n
	}
	for range 10 {
		b.Deposit(now)
	}
	if got := spend(); got != 6 {
		t.Errorf("ten requests and the start: %d retries, want 6", got)
	}
	now += 3 * time.Second
	if got := spend(); got != 3 {
		t.Errorf("three seconds: %d, want 3", got)
	}
	for range 100 {
		b.Deposit(now)
	}
	now += time.Hour
	if got := spend(); got != 10 {
		t.Errorf("an hour later: %d, want 10", got)
	}
	if fmt.Sprint(b.earned) != "0" {
		t.Errorf("left: %v", b.earned)
	}
}
