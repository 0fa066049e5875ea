package scatter_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/serving/scatter"
)

func TestLab(t *testing.T) { labtest.Run(t, scatter.Lab) }
