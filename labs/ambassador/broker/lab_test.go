package broker_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/ambassador/broker"
)

func TestLab(t *testing.T) { labtest.Run(t, broker.Lab) }
