package httpcases

import "testing"

// TestTable: each row has a source, a name of its own, and says what must come of it.
func TestTable(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Requests {
		if c.Why == "" || c.Want == "" || names[c.Name] {
			t.Errorf("%q: source %q, wants %q, twice %v", c.Name, c.Why, c.Want, names[c.Name])
		}
		names[c.Name] = true
	}
	for _, c := range Requests2 {
		if c.Why == "" || names["2: "+c.Name] {
			t.Errorf("HTTP/2, %q: source %q, twice %v", c.Name, c.Why, names["2: "+c.Name])
		}
		names["2: "+c.Name] = true
	}
	t.Logf("lengths %d, lines %d, targets %d, chunks %d, hops %d, overtaken %d, answers %d; HTTP/2 %d",
		len(lengths), len(lines), len(targets), len(chunks), len(hops), len(overtaken), len(answers), len(Requests2))
	if n := len(lengths) + len(lines) + len(chunks); n < 73 {
		t.Errorf("%d rows of request smuggling", n)
	}
}
