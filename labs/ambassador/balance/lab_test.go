package balance_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/ambassador/balance"
)

func TestLab(t *testing.T) { labtest.Run(t, balance.Lab) }
