package metrics_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/adapter/metrics"
)

func TestLab(t *testing.T) { labtest.Run(t, metrics.Lab) }
