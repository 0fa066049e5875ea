package shard_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/ambassador/shard"
)

func TestLab(t *testing.T) { labtest.Run(t, shard.Lab) }
