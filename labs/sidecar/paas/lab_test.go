package paas_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/sidecar/paas"
)

func TestLab(t *testing.T) { labtest.Run(t, paas.Lab) }
