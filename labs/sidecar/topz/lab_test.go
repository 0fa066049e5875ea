package topz_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/sidecar/topz"
)

func TestLab(t *testing.T) { labtest.Run(t, topz.Lab) }
