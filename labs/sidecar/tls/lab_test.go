package tls_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/sidecar/tls"
)

func TestLab(t *testing.T) { labtest.Run(t, tls.Lab) }
