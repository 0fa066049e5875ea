package split

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"distlab/lab/check"
	"distlab/lab/stats"
)

// names are users that nobody has seen before.
func names(r *rand.Rand, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("user-%08x", r.Uint32())
	}
	return list
}

// odd are names of the kinds that an algorithm or a parser may trip over: each length up to 33 bytes, for the tails of
// MurmurHash2's four; long ones, other alphabets, signs, blanks within, capitals. There are many of each kind, since a name that
// is read wrongly is on its own side all the same nine times out of ten.
func odd(r *rand.Rand) []string {
	list := []string{"user-42", "127.0.0.1"} // whose sides are in nginx's own vectors
	word := func(n int, letters string) string {
		text := make([]rune, n)
		for i := range text {
			text[i] = []rune(letters)[r.IntN(len([]rune(letters)))]
		}
		return string(text)
	}
	const letters = "abcdefghijklmnopqrstuvwxyz"
	for i := range 33 {
		list = append(list, word(i+1, letters), word(100+50*i, letters), word(12, "JÜRGENjürgenéñßжд漢字かな"),
			word(12, `!#$%&'*+-.^_|~"(),/:;<=>?@[]{}`+"`"), word(1, letters)+word(8, "ab  ")+word(1, letters), word(12, strings.ToUpper(letters)))
	}
	return list
}

// addresses are of 10.0.0.0/8, where no proxy of the lab is; the first are those of FACTS.
func addresses(r *rand.Rand, n int) []netip.Addr {
	list := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.4.77")}
	for len(list) < n {
		list = append(list, netip.AddrFrom4([4]byte{10, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}))
	}
	return list
}

// ratio asks once for each of many users, and as often without one, in each of the ways. Users are dealt by a hash of their
// name, so that their number is random, and is tested as such. Requests without a user are dealt in turns.
func ratio(m *check.M) check.Result {
	d := open(m, splitter)
	d.well(m)
	tests := 2 * len(ways())
	alpha := stats.AlphaOf(tests)
	n := stats.BinomialSampleSize(share, 1.5*share, alpha, stats.Power)
	samples, fewest, most, least := 0, n, 0, 1.0
	var said []string
	for _, w := range ways() {
		for _, kind := range []string{"users", "without a user"} {
			who := names(m.Rand(), n)
			at := make([]string, n)
			m.Each(n, workers, func(m *check.M, i int) {
				var headers []string
				if kind == "users" {
					headers = []string{userHeader, who[i]}
				}
				at[i] = check.Got(d.get(m.Context(), w, headers...)).arm
			})
			k := count(at, arm1)
			p := stats.BinomialTest(k, n, share)
			samples, fewest, most, least = samples+n, min(fewest, k), max(most, k), min(least, p)
			said = append(said, fmt.Sprintf("%s, %s: %d (p = %.2g)", kind, w.name, k, p))
		}
	}
	res := check.Decide(least >= alpha, "%d to %d of %d on the experiment in %d ways, least p = %.2g", fewest, most, n, tests, least)
	res = res.Want("%.0f %%, p ≥ %.2g", 100*share, alpha).Of(samples).Because("%s", strings.Join(said, "\n"))
	return undisturbed(res, d)
}

func count(list []string, what string) (n int) {
	for _, x := range list {
		if x == what {
			n++
		}
	}
	return n
}

// again is how often each user comes.
const again = 4

// sticky has users come back in all the ways, by name and by address. The side is the one that nginx would choose, by its
// algorithms computed here. Both sides must have been met: one side for all would be sticky, too.
func sticky(m *check.M) check.Result {
	r := m.Rand()
	who := append(odd(r), names(r, 100)...)
	from := addresses(r, 300)
	byName, address := open(m, splitter), open(m, byAddress)
	byName.well(m)
	address.well(m)
	var counts check.Ways
	both := map[string]bool{}
	for i := range who {
		both["name "+splitClients(who[i])] = true
	}
	for i := range from {
		both["address "+ipHash(from[i])] = true
	}
	for _, w := range ways() {
		stick(m, byName, w, counts.Way("by name, "+w.name), len(who), func(i int) (string, []string) {
			return splitClients(who[i]), []string{userHeader, who[i]}
		})
		stick(m, address, w, counts.Way("by address, "+w.name), len(from), func(i int) (string, []string) {
			return ipHash(from[i]), []string{"X-Forwarded-For", from[i].String()}
		})
	}
	m.Need(len(both) == 4, "the users are on one side: %v", both)
	return undisturbed(counts.Decide().Want("as nginx would, each time"), byName, address)
}

func stick(m *check.M, d door, w way, t *check.Tally, n int, user func(i int) (arm string, headers []string)) {
	visits := make([]visit, again*n)
	m.Each(len(visits), workers, func(m *check.M, i int) {
		_, headers := user(i % n)
		visits[i] = check.Got(d.get(m.Context(), w, headers...))
	})
	for i, v := range visits {
		want, headers := user(i % n)
		t.Note(v.arm == want, "%.60q: on %s, want %s", headers, v.arm, want)
	}
}

// stickyCookie: a browser is told its side with its first page, and stays there. One that writes its own cookie, however it
// does it, is not believed: it is dealt anew.
func stickyCookie(m *check.M) check.Result {
	const browsers = 60
	d := open(m, byCookie)
	d.well(m)
	ws := ways()
	var counts check.Ways
	keeps, forges, first := counts.Way("the same each time"), counts.Way("forged cookies not believed"), counts.Way("a cookie with the first page")
	at := make([]visit, browsers)
	m.Each(browsers, workers, func(m *check.M, i int) {
		w := ws[i%len(ws)]
		at[i] = check.Got(d.get(m.Context(), w))
		first.Note(at[i].cookie != "", "%s: none", w.name)
		for range again {
			v := check.Got(d.get(m.Context(), w, "Cookie", "other=1; "+at[i].cookie+"; more=2"))
			keeps.Note(v.arm == at[i].arm && v.reason == "cookie", "%s: on %s by %s after %s", at[i].cookie, v.arm, v.reason, at[i].arm)
		}
	})
	signed := map[string]string{} // by arm
	for _, v := range at {
		signed[v.arm] = v.cookie
	}
	m.Need(len(signed) == 2, "all %d browsers were put on one side", browsers)
	_, signature, _ := strings.Cut(signed[arm0], arm0)
	for _, cookie := range []string{
		"split=" + arm1,             // unsigned
		"split=" + arm1 + signature, // signed for the other arm
		"split=" + arm1 + ".",       // an empty signature
		"split=" + arm1 + "." + strings.Repeat("A", 24),
		signed[arm1][:len(signed[arm1])-1], // cut
		signed[arm1] + "A",                 // longer
		flipped(signed[arm1]),              // one bit of the signature
		strings.ToUpper(signed[arm1]),
	} {
		for _, w := range ws {
			v := check.Got(d.get(m.Context(), w, "Cookie", cookie))
			forges.Note(v.reason != "cookie" && v.cookie != "", "%s is believed: on %s by %s", cookie, v.arm, v.reason)
		}
	}
	return undisturbed(counts.Decide(), d)
}

// flipped has another last character, of the same alphabet.
func flipped(cookie string) string {
	last := cookie[len(cookie)-1]
	other := byte('A')
	if last == other {
		other = 'B'
	}
	return cookie[:len(cookie)-1] + string(other)
}

// why asks for the reason of an answer, and compares it with the page and with what the answer itself said: with both arms
// in use, and with the experiment away, when its users are on the other side for another reason.
func why(m *check.M) check.Result {
	const users = 60
	w := ways()[0]
	r := m.Rand()
	who, from := append(odd(r)[:40], names(r, users)...), addresses(r, users)
	named, cookies, address := open(m, splitter), open(m, byCookie), open(m, byAddress)
	var counts check.Ways
	reasons := map[string]int{}
	compare := func(way string, d door, name, value string, headers ...string) visit {
		said := d.why(m, name, value)
		v, err := d.get(m.Context(), w, headers...)
		counts.Way(way).Note(err == nil && said.Arm == v.arm && said.Arm == v.said && said.Reason == v.reason && said.Reason != "",
			"%s %.60q: /why says %s by %s, the page is of %s, its headers say %s by %s (%v)",
			d.service, value, said.Arm, said.Reason, v.arm, v.said, v.reason, err)
		reasons[v.reason]++
		return v
	}
	all := func(state string) {
		for _, user := range who {
			compare("by name"+state, named, "header", userHeader+": "+user, userHeader, user)
		}
		for _, a := range from {
			compare("by address"+state, address, "address", a.String(), "X-Forwarded-For", a.String())
		}
		for range users {
			// Dealt in turns: who asks first is told of the next turn, and nobody else takes it.
			v := compare("dealt"+state, cookies, "", "")
			m.Need(v.cookie != "", "a browser got no cookie")
			compare("by cookie"+state, cookies, "cookie", v.cookie, "Cookie", v.cookie)
		}
	}
	for _, d := range []door{named, cookies, address} {
		d.well(m)
	}
	all("")
	res := undisturbed(counts.Decide(), named, cookies, address)
	if res.Verdict == check.Inconclusive {
		return res
	}
	m.Stop(experiment)
	for _, d := range []door{named, cookies, address} {
		m.Await(patience, d.service+" to leave the experiment", func(m *check.M) error {
			if d.arms(m).up(arm1) {
				return errors.New("it is in use")
			}
			return nil
		})
	}
	all(", the experiment away")
	return counts.Decide().Because("reasons: %v", reasons)
}
