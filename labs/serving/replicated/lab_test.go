package replicated_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/serving/replicated"
)

func TestLab(t *testing.T) { labtest.Run(t, replicated.Lab) }
