package config_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/sidecar/config"
)

func TestLab(t *testing.T) { labtest.Run(t, config.Lab) }
