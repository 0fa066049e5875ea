package main

import (
	"testing"
	"time"
)

// at gives a process of a look the time of the look: each is a second after the last.
func look(n int, list ...Process) Scan {
	scan := Scan{At: time.Unix(1000+int64(n), 0)}
	for _, p := range list {
		p.At = scan.At
		scan.Processes = append(scan.Processes, &p)
	}
	return scan
}

// proc is a process with its own time and that of its ended children, in ticks.
func proc(pid, parent, start int, own, reaped int) Process {
	return Process{PID: pid, Parent: parent, Start: uint64(start), Own: time.Duration(own) * tick, Reaped: time.Duration(reaped) * tick}
}

func TestMeter(t *testing.T) {
	for name, test := range map[string]struct {
		meter Meter
		looks []Scan
		want  int // ticks that all took in the last look together
	}{
		"its own": {looks: []Scan{
			look(0, proc(1, 0, 1, 100, 0)), look(1, proc(1, 0, 1, 130, 0)),
		}, want: 30},
		"what was before the first look is of no time": {looks: []Scan{
			look(0, proc(1, 0, 1, 5000, 3000)),
		}, want: 0},
		"begun between two looks": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0)), look(1, proc(1, 0, 1, 0, 0), proc(2, 1, 50, 40, 5)),
		}, want: 45},
		"begun and ended between two looks": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 10)), look(1, proc(1, 0, 1, 0, 90)),
		}, want: 80},
		"seen and then ended counts once": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0), proc(2, 1, 5, 70, 0)),
			look(1, proc(1, 0, 1, 0, 0), proc(2, 1, 5, 90, 0)),
			look(2, proc(1, 0, 1, 0, 95)), // 5 after it was last seen
		}, want: 5},
		"a parent that was read before its child ended": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0), proc(2, 1, 5, 70, 0)),
			look(1, proc(1, 0, 1, 0, 0)), // read, and then 2 was waited for
			look(2, proc(1, 0, 1, 0, 70)),
		}, want: 0},
		"one seen among many that were not": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0), proc(2, 1, 5, 30, 0)),
			look(1, proc(1, 0, 1, 0, 130)),
		}, want: 100},
		"a grandchild whose parent ended too": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0), proc(2, 1, 5, 10, 0), proc(3, 2, 6, 20, 0)),
			look(1, proc(1, 0, 1, 0, 33)),
		}, want: 3},
		"a child with ended children": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0), proc(2, 1, 5, 10, 40)),
			look(1, proc(1, 0, 1, 0, 51)),
		}, want: 1},
		"an orphan is PID 1's": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0), proc(3, 2, 6, 20, 0)), // 2 is not to be seen
			look(1, proc(1, 0, 1, 0, 24)),
		}, want: 4},
		"a PID used again is another process": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0), proc(2, 1, 5, 900, 0)),
			look(1, proc(1, 0, 1, 0, 900), proc(2, 1, 77, 3, 0)),
		}, want: 3},
		"a parent that waits for nobody": {looks: []Scan{
			look(0, proc(1, 0, 1, 0, 0), proc(2, 1, 5, 50, 0)),
			look(1, proc(1, 0, 1, 0, 0)),
			look(2, proc(1, 0, 1, 0, 0)), look(3, proc(1, 0, 1, 0, 0)), look(4, proc(1, 0, 1, 0, 0)),
			look(5, proc(1, 0, 1, 0, 8)), // the debt has not waited for ever
		}, want: 8},
		"a clock that goes back": {looks: []Scan{
			look(0, proc(1, 0, 1, 50, 50)), look(1, proc(1, 0, 1, 49, 49)),
		}, want: 0},
		"live only": {meter: Meter{LiveOnly: true}, looks: []Scan{
			look(0, proc(1, 0, 1, 0, 10)), look(1, proc(1, 0, 1, 5, 90)),
		}, want: 5},
	} {
		var uses map[id]Use
		for _, scan := range test.looks {
			uses = test.meter.Add(scan)
		}
		var sum time.Duration
		for _, u := range uses {
			sum += u.Own + u.Children
		}
		if want := time.Duration(test.want) * tick; sum != want {
			t.Errorf("%s: %v, want %v", name, sum, want)
		}
	}
}

// Whatever begins and ends, and in whatever order, all of it counts, and once: the sum over a long time is what the
// kernel has.
func TestMeterSum(t *testing.T) {
	var m Meter
	var sum, reaped time.Duration
	own := 0
	for n := range 200 {
		list := []Process{proc(1, 0, 1, own, int(reaped/tick))}
		for c := range n % 5 { // children that are seen once, with a tick each, and then end with two
			list = append(list, proc(10+c, 1, 100+n, 1, 0))
		}
		for _, u := range m.Add(look(n, list...)) {
			sum += u.Own + u.Children
		}
		own += 3
		reaped += time.Duration(n%5*2+7) * tick // and 7 of some that are never seen
	}
	kernel := time.Duration(199*3)*tick + reaped - time.Duration(199%5*2+7)*tick
	if diff := sum - kernel; diff < -5*tick || diff > 5*tick {
		t.Errorf("%v counted, the kernel has %v", sum, kernel)
	}
}

func TestShare(t *testing.T) {
	if cores, ok := share(300*time.Millisecond, time.Second); !ok || cores != 0.3 {
		t.Errorf("%v %v", cores, ok)
	}
	if _, ok := share(time.Second, 0); ok {
		t.Error("a share of no time")
	}
}
