package election_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/serving/election"
)

func TestLab(t *testing.T) { labtest.Run(t, election.Lab) }
