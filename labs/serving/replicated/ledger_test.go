package replicated

import "testing"

// The ledger adds up over looks, over a series that has left and come back, and knows whose an address was.
func TestLedger(t *testing.T) {
	l := &ledger{names: map[string]string{"10.0.0.2:8080": "dictionary-2"}, last: map[string]int{}, lost: map[string]int{}}
	for i, page := range []string{
		`balancer_failures_total{reason="dial",replica="10.0.0.2:8080"} 7
balancer_requests_total{code="5xx",replica="10.0.0.3:8080"} 1
balancer_requests_total{code="2xx",replica="10.0.0.3:8080"} 100
`,
		`balancer_failures_total{reason="dial",replica="10.0.0.2:8080"} 9
balancer_requests_total{code="2xx",replica="10.0.0.3:8080"} 200
`,
		``, // both have left
		`balancer_failures_total{reason="dial",replica="10.0.0.2:8080"} 3
balancer_requests_total{code="5xx",replica="10.0.0.3:8080"} 1.2e+01
`,
	} {
		l.read(page, i == 0)
	}
	const want = "lost by copy and cause: dictionary-2 dial: 5, 10.0.0.3:8080 answered 5xx: 11"
	if got := l.String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := l.others("dictionary-2"); n != 11 {
		t.Errorf("%d lost at others, want 11", n)
	}
}
