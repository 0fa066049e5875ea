package split_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/ambassador/split"
)

func TestLab(t *testing.T) { labtest.Run(t, split.Lab) }
