package health_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/adapter/health"
)

func TestLab(t *testing.T) { labtest.Run(t, health.Lab) }
