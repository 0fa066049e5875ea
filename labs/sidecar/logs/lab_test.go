package logs_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/sidecar/logs"
)

func TestLab(t *testing.T) { labtest.Run(t, logs.Lab) }
