package logs_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/adapter/logs"
)

func TestLab(t *testing.T) { labtest.Run(t, logs.Lab) }
