package content_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/sidecar/content"
)

func TestLab(t *testing.T) { labtest.Run(t, content.Lab) }
