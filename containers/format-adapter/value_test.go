package main

import "testing"

func TestDecimal(t *testing.T) {
	for _, tt := range []struct {
		from       From
		text, want string
		scale      int
	}{
		{From{Implied: 2, Sign: "overpunch"}, "0012C", "1.23", 2},
		{From{Implied: 2, Sign: "overpunch"}, "0012L", "-1.23", 2},
		{From{Implied: 2, Sign: "overpunch"}, "1234}", "-123.40", 2},
		{From{Implied: 2, Sign: "overpunch"}, "0000}", "0.00", 2},
		{From{Decimal: ",", Group: "."}, "1.234,5", "1234.50", 2},
		{From{}, "9007199254740993", "9007199254740993", 0},
		{From{}, "1_000", "", 0},
		{From{}, "Inf", "", 2},
		{From{}, "0x1p-2", "", 2},
		{From{}, "1,5", "", 2},
		{From{}, "1.234", "", 2},
	} {
		got, err := decimal(&tt.from, tt.text, tt.scale)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: got %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}
