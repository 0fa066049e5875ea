package slowlog_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/adapter/slowlog"
)

func TestLab(t *testing.T) { labtest.Run(t, slowlog.Lab) }
