package logs

import (
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// nothingLost does to apps, files and adapter what happens to them, and counts every event of the apps.
func nothingLost(m *check.M) check.Result {
	begun := time.Now()
	var ways check.Ways
	first := map[string]int64{}
	for _, a := range apps {
		first[a.service], _ = a.write(m, 100)
	}
	// Each app is killed while it writes by itself: what it had written is no event less.
	for _, a := range apps {
		m.Heal(m.Kill(a.service))
		m.Await(patience, a.service+" to write again", func(m *check.M) error {
			if n := a.last(m); n < first[a.service] {
				return fmt.Errorf("its last number is %d", n)
			}
			return nil
		})
	}
	// Renamed, with lines written to the old file after it; copied and truncated.
	for _, a := range apps {
		a.write(m, 200)
		check.Must(m.Do("POST", pod, a.port, "/rotate?by=rename&late=5", nil).Is(200))
		a.write(m, 200)
		settled(m) // what is truncated unread cannot be read by anybody
		check.Must(m.Do("POST", pod, a.port, "/rotate?by=copytruncate", nil).Is(200))
		a.write(m, 200)
	}
	// The adapter is stopped amid a trace, and events are written while it is gone.
	token := m.Fresh()
	apps[0].text(m, "2026-11-25T10:00:00Z ERROR [main] shop - "+token+"\njava.lang.Error: "+token+"\n")
	settledScan(m)
	gone := m.Stop(adapter)
	for _, a := range apps {
		a.write(m, 100)
	}
	m.Heal(gone)
	m.Await(patience, "the adapter to be there again", func(m *check.M) error { return m.Get(pod, adminPort, "/readyz").Is(200) })
	last := map[string]int64{}
	for _, a := range apps {
		_, last[a.service] = a.write(m, 10)
	}
	settled(m)
	for _, a := range apps {
		a.once(m, begun, first[a.service], last[a.service], &ways, nil)
	}
	held := 0
	for _, e := range events(m, begun, token) {
		held += strings.Count(e.original(), token)
	}
	ways.Way("held at SIGTERM").Note(held == 2, "%d of 2 lines", held)
	return ways.Decide().Want("each once").Because("three SIGKILLs, a SIGTERM, renames and truncations")
}

// settledScan waits for one more look of the adapter.
func settledScan(m *check.M) {
	first := readStatus(m).Scans
	m.Await(patience, "a look of the adapter", func(m *check.M) error {
		if now := readStatus(m).Scans; now < first+2 {
			return fmt.Errorf("%d looks", now-first)
		}
		return nil
	})
}
