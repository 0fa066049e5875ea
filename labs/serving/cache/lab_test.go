package cache_test

import (
	"testing"

	"distlab/lab/labtest"
	"distlab/labs/serving/cache"
)

func TestLab(t *testing.T) { labtest.Run(t, cache.Lab) }
