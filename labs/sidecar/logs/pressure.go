package logs

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"distlab/lab/check"
)

// appUnaffected writes the same lines with the store there and with it away, in each way in which it can be away. In all it is
// more than the app's volume holds: who keeps deleted files open fills it. Beside each order the app writes as much to a file
// that nobody follows: this machine's other work slows both.
func appUnaffected(m *check.M) check.Result {
	const rounds, lines, size = 3, 2000, 1024
	resume := quiet(m)
	defer resume()
	level(m, 2)
	failed := appSays(m).Failed
	orders := 0
	write := func(rounds int) (ratios []float64) {
		for range rounds {
			orders++
			took, ok := timed(m, "/lines", lines, size)
			if control, fine := timed(m, "/control", lines, size); ok && fine {
				ratios = append(ratios, took/control)
			}
			scanned(m)
		}
		return ratios
	}
	with, without := write(rounds), []float64(nil)
	for _, mode := range []string{"refuse", "busy"} {
		gone := away(m, mode)
		without = append(without, write(rounds)...)
		m.Heal(gone)
		level(m, 2)
		with = append(with, write(2)...)
	}
	// All that the volume holds, and a half of it once more, with nobody to take it.
	gone := away(m, "hang")
	without = append(without, write(3*volume/2/(lines*size))...)
	m.Heal(gone)
	lost := appSays(m).Failed - failed
	m.Need(len(with) > 3, "the app could write in %d of %d orders with the store there", len(with), 2*rounds)
	ok := lost == 0 && len(without) > 0 && median(without) < 4*median(with)
	return check.Decide(ok, "%d writes failed; writing took %.1f times what it takes to a file that nobody follows with the store away, %.1f times with it there",
		lost, median(append(without, 0)), median(with)).Want("none; less than 4 times as long").Of(lines * orders)
}

// timed is how long an order of lines took; false where one could not be written.
func timed(m *check.M, path string, n, size int) (seconds float64, ok bool) {
	p := m.Do("POST", pod, appPort, fmt.Sprintf("%s?n=%d&size=%d", path, n, size), nil)
	if p.Status != 200 {
		return 0, false
	}
	var said struct{ Seconds float64 }
	check.Must(json.Unmarshal(p.Body, &said))
	return said.Seconds, true
}

// backPressure has the app write five times what may wait while the store hangs, in steps that the shipper sees. Then every
// line is in the store, or was counted as dropped, and never was more in memory or on the disk than may be.
func backPressure(m *check.M) check.Result {
	const steps, lines, size = 40, 1024, 1024
	const resident = 48 << 20
	resume := quiet(m)
	defer resume()
	level(m, 2)
	before := storeCounts(m)
	droppedBefore := m.Metric(pod, adminPort, "log_shipper_dropped_lines_total", `reason="limit"`)
	base := m.Metric(pod, adminPort, "process_resident_memory_bytes")
	gone := away(m, "hang")
	var all span
	var memory, lineBytes, disk float64
	for i := range steps {
		s := written(m, lines, size)
		if i == 0 {
			all.First = s.First
		}
		all.Last = s.Last
		scanned(m)
		memory = max(memory, m.Metric(pod, adminPort, "process_resident_memory_bytes"))
		lineBytes = max(lineBytes, m.Metric(pod, adminPort, "log_shipper_buffered_bytes"))
		disk = max(disk, m.Metric(pod, adminPort, "log_shipper_waiting_bytes"))
	}
	m.Heal(gone)
	settled(m)
	l := newLedger(stored(m, before.LastID), all.First)
	missing := l.missing(all)
	dropped := int(m.Metric(pod, adminPort, "log_shipper_dropped_lines_total", `reason="limit"`) - droppedBefore)
	// A batch and a read may be on top of the bound on lines; what the last file grew by since the shipper's look, on the disk.
	ok := memory <= resident && lineBytes <= buffer+2*batch && disk <= backlog+2<<20 && missing == dropped && dropped > 0 && l.repeated() == 0
	return check.Decide(ok, "at most %.0f MB resident (%.0f before), %.1f MB of lines, %.1f MB waiting on the disk; %d of %d lines missing, %d counted as dropped",
		memory/1e6, base/1e6, lineBytes/1e6, disk/1e6, missing, all.count(), dropped).
		Want("≤ %d MB, ≤ %.1f MB, ≤ %.1f MB; as many missing as counted", resident/1_000_000, float64(buffer+2*batch)/1e6, float64(backlog+2<<20)/1e6).
		Of(all.count())
}

// catchesUp lets the app write steadily. The store refuses until much waits; then it is measured how fast that becomes level
// while the app goes on, and that it stays so.
func catchesUp(m *check.M) check.Result {
	const rate, limit = 2000, 20 * time.Second
	resume := quiet(m)
	defer resume()
	level(m, 2)
	before := storeCounts(m)
	gone := away(m, "refuse")
	s := written(m, 30_000, 0)
	tell(m, fmt.Sprintf("/rate?n=%d", rate), nil)
	waits := float64(0)
	m.Await(patience, "3 MB that wait", func(m *check.M) error {
		if waits = m.Metric(pod, adminPort, "log_shipper_waiting_bytes"); waits < 3e6 {
			return fmt.Errorf("%.0f bytes", waits)
		}
		return nil
	})
	start := storeCounts(m).LastID
	m.Heal(gone)
	begun := time.Now()
	caughtUp := func(m *check.M) error {
		// Level is what the app writes in two looks and a batch's wait, five times over.
		if n := m.Metric(pod, adminPort, "log_shipper_waiting_bytes"); n > rate*120*2 {
			return fmt.Errorf("%.0f bytes wait", n)
		}
		return nil
	}
	took, last := m.Until(2*limit, caughtUp)
	seconds := time.Since(begun).Seconds()
	shipped := storeCounts(m).LastID - start
	held := m.Hold(2*time.Second, func(m *check.M) error {
		if n := m.Metric(pod, adminPort, "log_shipper_waiting_bytes"); n > rate*120*6 {
			return fmt.Errorf("%.0f bytes wait again", n)
		}
		return nil
	})
	quiet(m)
	settled(m)
	missing := newLedger(stored(m, before.LastID), s.First).missing(s)
	speed := float64(shipped) / seconds
	ok := took.Within(limit) && speed >= 5*rate && held.Broke == nil && missing == 0
	return check.Decide(ok, "%d lines shipped in %.1f s, %.0f a second, while the app wrote %d a second; level after %v, and it %v; %d missing",
		shipped, seconds, speed, rate, took, held, missing).
		Want("≥ %d a second, level within %v, none missing", 5*rate, limit).Of(int(shipped)).Because("last: %v", last)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}
