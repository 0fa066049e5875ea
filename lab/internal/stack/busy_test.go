package stack

import "testing"

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		text    string
		cpus    int
		load    float64
		stretch float64
	}{
		{"0.10 0.20 0.30 1/200 4711\n", 2, 0.05, 1},
		{"2.00 9.00 9.00 1/200 4711\n", 2, 1, 1},
		{"9.00 0.20 0.30 1/200 4711\n", 2, 4.5, 4.5},
		{"80.00 80.00 80.00 90/200 4711\n", 2, 40, 8}, // somebody waits for it
		{"", 2, 0, 1},
		{"nonsense", 2, 0, 1},
	} {
		load := loadOf(c.text, c.cpus)
		if load != c.load || stretch(load) != c.stretch {
			t.Errorf("%q: load %g, stretched %g; want %g, %g", c.text, load, stretch(load), c.load, c.stretch)
		}
	}
}
