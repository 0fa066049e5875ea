package split

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"distlab/lab/check"
	"distlab/lab/stats"
)

const (
	// pairs of requests, fewer where they take too long; the tests are exact for few, too.
	pairs     = 500
	fewest    = 10
	measureIn = 10 * time.Second

	// dearer is what a copy may cost. It is far below the time that the copies hang for.
	dearer = 2 * time.Millisecond
)

// copies is a count of the splitter's, by how copies ended.
func copies(m *check.M, outcome string) float64 {
	return m.Counter(splitter, adminPort, "splitter_mirror_requests_total", `result="`+outcome+`"`)
}

// mirror freezes the third build and compares, request by request in turns, the door that copies to it with one that
// copies nothing: whatever else the machine does meets both. The user and the address are of the same arm. Each door has
// one kept connection, so that a copy which holds back the next request is seen as well. Of every ten requests one is a
// POST, which is not copied, and must not wait for those that are.
func mirror(m *check.M) check.Result {
	copying, plain, w := open(m, splitter), open(m, byAddress), ways()[0]
	copying.well(m)
	plain.well(m)
	user, address := userOf(m, arm0), "10.0.0.7"
	m.Need(ipHash(netip.MustParseAddr(address)) == arm0, "%s is not of %s", address, arm0)
	sent := copies(m, "2xx")
	check.Got(copying.get(m.Context(), w, userHeader, user))
	m.Await(patience, "a copy that is answered", func(m *check.M) error {
		if copies(m, "2xx") <= sent {
			return errors.New("none was")
		}
		return nil
	})
	m.Pause(shadow)
	hung := copies(m, "timeout")
	var with, without []float64
	r := m.Rand()
	for begun := time.Now(); len(with) < pairs && (len(with) < fewest || time.Since(begun) < measureIn); {
		method, path := http.MethodGet, "/about"
		if len(with)%10 == 9 {
			method, path = http.MethodPost, "/echo"
		}
		first := r.IntN(2) == 0
		for _, copied := range []bool{first, !first} {
			d, headers, to := plain, []string{"X-Forwarded-For", address}, &without
			if copied {
				d, headers, to = copying, []string{userHeader, user}, &with
			}
			v := check.Got(d.ask(m.Context(), w, method, path, nil, headers...))
			m.Need(v.said == arm0, "a request went to %s", v.said)
			*to = append(*to, v.took.Seconds())
		}
	}
	m.Await(20*mirrorTimeout, "a copy that hung", func(m *check.M) error {
		if copies(m, "timeout") <= hung {
			return errors.New("none did")
		}
		return nil
	})
	// Two tests. The tail: an answer in ten that waits for the copy hardly moves the ranks. And all of them, one-sided,
	// since cheaper is no fault.
	alpha := stats.AlphaOf(2)
	slow, slowPlain := slower(with), slower(without)
	tail := stats.FisherTest(slow, len(with), slowPlain, len(without))
	tailOK := slow <= slowPlain || tail >= alpha
	less := make([]float64, len(with))
	for i, x := range with {
		less[i] = x - dearer.Seconds()
	}
	u, p := stats.MannWhitney(less, without)
	if p /= 2; u < float64(len(with)*len(without))/2 {
		p = 1 - p
	}
	return check.Decide(p >= alpha && tailOK, "median %.2f ms with copies that hang, %.2f ms without, dearer by more than %v: p = %.2g; "+
		"%d and %d of %d slower than %v", 1000*median(with), 1000*median(without), dearer, p, slow, slowPlain, len(with), mirrorTimeout/2).
		Want("no evidence of either, p ≥ %.2g", alpha).Of(len(with) + len(without))
}

// slower is how many took as long as those that wait for a copy.
func slower(took []float64) (n int) {
	for _, t := range took {
		if t >= mirrorTimeout.Seconds()/2 {
			n++
		}
	}
	return n
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
