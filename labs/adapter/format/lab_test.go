package format_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/adapter/format"
)

func TestLab(t *testing.T) { labtest.Run(t, format.Lab) }
