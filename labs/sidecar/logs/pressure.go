package logs

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"distlab/lab/check"
)

// appUnaffected writes the same lines with the store there and with it away, in turns, in each way in which it can be away,
// and once with the shipper frozen. In all it is more than the app's volume holds: who keeps deleted files open fills it.
func appUnaffected(m *check.M) check.Result {
	const rounds, lines, size = 4, 2000, 1024
	resume := quiet(m)
	defer resume()
	settled(m)
	failed, first := int64(m.Metric(app, appAdmin, "log_writer_failed_writes_total")), int64(0)
	write := func(rounds int) (took []float64) {
		for range rounds {
			var s struct {
				First   int64
				Seconds float64
			}
			p := m.Do("POST", pod, appPort, fmt.Sprintf("/lines?n=%d&size=%d", lines, size), nil)
			if p.Status != 200 {
				continue // a line could not be written, and is counted
			}
			check.Must(json.Unmarshal(p.Body, &s))
			if first == 0 {
				first = s.First
			}
			took = append(took, s.Seconds)
			scanned(m)
		}
		return took
	}
	with := write(rounds)
	var without []float64
	for _, mode := range []string{"refuse", "hang", "busy"} {
		settled(m)
		with = append(with, write(1)...)
		gone := away(m, mode)
		without = append(without, write(rounds)...)
		m.Heal(gone)
	}
	settled(m)
	// All that the volume holds, and the half of it once more, with nobody to take it.
	gone := away(m, "hang")
	for range 3 * volume / 2 / (lines * size) {
		without = append(without, write(1)...)
	}
	m.Heal(gone)
	lost := int64(m.Metric(app, appAdmin, "log_writer_failed_writes_total")) - failed
	m.Need(len(with) > 0, "the app could not write with the store there")
	a, b := median(with), 0.0
	if len(without) > 0 {
		b = median(without)
	}
	// A disk that is busy with others is busy for both, and within a factor it says nothing.
	ok := lost == 0 && len(without) > 0 && (b < 3*a || b < 0.25)
	return check.Decide(ok, "%d writes failed; %d lines took %.0f ms (median of %d) with the store away, %.0f ms (of %d) with it there",
		lost, lines, 1000*b, len(without), 1000*a, len(with)).Want("none; less than 3 times as long, or 250 ms").Of(lines * len(without))
}

// backPressure has the app write five times what may wait while the store hangs, in steps that the shipper sees. Then every
// line is in the store, or was counted as dropped, and never was more in memory or on the disk than may be.
func backPressure(m *check.M) check.Result {
	const steps, lines, size = 40, 1024, 1024
	const resident = 48 << 20
	resume := quiet(m)
	defer resume()
	settled(m)
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
	settled(m)
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
	level := func(m *check.M) error {
		// Level is what the app writes in two looks and a batch's wait, five times over.
		if n := m.Metric(pod, adminPort, "log_shipper_waiting_bytes"); n > rate*120*2 {
			return fmt.Errorf("%.0f bytes wait", n)
		}
		return nil
	}
	took, last := m.Until(2*limit, level)
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
