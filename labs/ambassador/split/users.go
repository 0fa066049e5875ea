package split

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"distlab/lab/check"
)

// names are users that nobody has seen before.
func names(r *rand.Rand, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("user-%08x", r.Uint32())
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

// ratio asks once for each of many users, and as often without one. Users are dealt by a hash of their name, so that their
// number is random, and is tested as such. Requests without a user are dealt in turns.
func ratio(ctx context.Context, s *check.Stack) (check.Result, error) {
	d, err := open(ctx, s, splitter)
	if err != nil {
		return check.Result{}, err
	}
	if err := d.well(ctx); err != nil {
		return check.Result{}, err
	}
	const users = 2000
	who := names(s.Rand(), users)
	arms := make([]string, 2*users)
	if err := each(ctx, len(arms), func(ctx context.Context, i int) error {
		var headers []string
		if i < users {
			headers = []string{userHeader, who[i]}
		}
		v, err := d.get(ctx, headers...)
		arms[i] = v.arm
		return err
	}); err != nil {
		return check.Result{}, err
	}
	named, nameless := count(arms[:users], arm1), count(arms[users:], arm1)
	p1, p2 := check.BinomialTest(named, users, share), check.BinomialTest(nameless, users, share)
	alpha := check.AlphaOf(2)
	res := check.Decide(p1 >= alpha && p2 >= alpha, "%d of %d users (p = %.2g), %d of %d requests without a user (p = %.2g)",
		named, users, p1, nameless, users, p2)
	return d.undisturbed(res.Want("%.0f %% of either, p ≥ %.2g", 100*share, alpha).Of(2 * users)), nil
}

func count(list []string, what string) (n int) {
	for _, x := range list {
		if x == what {
			n++
		}
	}
	return n
}

// tally counts visits that were as they should be, and keeps a few words on those that were not.
type tally struct {
	right, all int
	odd        []string
}

func (t *tally) note(ok bool, format string, args ...any) {
	t.all++
	if ok {
		t.right++
	} else if len(t.odd) < 5 {
		t.odd = append(t.odd, fmt.Sprintf(format, args...))
	}
}

func (t *tally) String() string { return fmt.Sprintf("%d of %d", t.right, t.all) }

// sticky has users come back, in three ways to know them again.
func sticky(ctx context.Context, s *check.Stack) (check.Result, error) {
	var byName, byJar, byHash tally
	var doors []door
	for _, way := range []struct {
		door string
		ask  func(context.Context, *rand.Rand, door, *tally) error
		t    *tally
	}{
		{splitter, namesStick, &byName}, {byCookie, cookiesStick, &byJar}, {byAddress, addressesStick, &byHash},
	} {
		d, err := open(ctx, s, way.door)
		if err != nil {
			return check.Result{}, err
		}
		if err := d.well(ctx); err != nil {
			return check.Result{}, err
		}
		if err := way.ask(ctx, s.Rand(), d, way.t); err != nil {
			return check.Result{}, fmt.Errorf("%s: %w", way.door, err)
		}
		doors = append(doors, d)
	}
	ok := byName.right == byName.all && byJar.right == byJar.all && byHash.right == byHash.all
	res := check.Decide(ok, "as nginx would and the same each time: %v by name, %v by address; the same each time: %v by cookie", &byName, &byHash, &byJar)
	for _, t := range []tally{byName, byJar, byHash} {
		res = res.Because("%s", strings.Join(t.odd, "\n"))
	}
	res = res.Want("all").Of(byName.all + byJar.all + byHash.all)
	for _, d := range doors {
		res = d.undisturbed(res)
	}
	return res, nil
}

// again is how often each user comes.
const again = 4

// namesStick: the side of a name is that of nginx's split_clients.
func namesStick(ctx context.Context, r *rand.Rand, d door, t *tally) error {
	who := append([]string{"user-42", "127.0.0.1"}, names(r, 400)...)
	return stick(ctx, d, len(who), t, func(i int) (string, []string) {
		return splitClients(who[i]), []string{userHeader, who[i]}
	})
}

// addressesStick: the side of an address is that of nginx's ip_hash.
func addressesStick(ctx context.Context, r *rand.Rand, d door, t *tally) error {
	from := addresses(r, 400)
	return stick(ctx, d, len(from), t, func(i int) (string, []string) {
		return ipHash(from[i]), []string{"X-Forwarded-For", from[i].String()}
	})
}

func stick(ctx context.Context, d door, n int, t *tally, user func(i int) (arm string, headers []string)) error {
	visits := make([]visit, again*n)
	if err := each(ctx, len(visits), func(ctx context.Context, i int) (err error) {
		_, headers := user(i % n)
		visits[i], err = d.get(ctx, headers...)
		return err
	}); err != nil {
		return err
	}
	for i := range n {
		want, headers := user(i)
		for j := i; j < len(visits); j += n {
			t.note(visits[j].arm == want, "%v: on %s, want %s", headers, visits[j].arm, want)
		}
	}
	return nil
}

// cookiesStick: a browser is told its side with its first page, and stays there. One that writes its own cookie is not
// believed: it is dealt anew.
func cookiesStick(ctx context.Context, _ *rand.Rand, d door, t *tally) error {
	const browsers = 200
	first, forged := make([]visit, browsers), make([]visit, browsers)
	later := make([]visit, again*browsers)
	if err := each(ctx, browsers, func(ctx context.Context, i int) (err error) {
		if first[i], err = d.get(ctx); err != nil {
			return err
		}
		if forged[i], err = d.get(ctx, "Cookie", "split="+arm1); err != nil {
			return err
		}
		for j := range again {
			if later[again*i+j], err = d.get(ctx, "Cookie", first[i].cookie); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	both := map[string]bool{}
	for i, v := range first {
		both[v.arm] = true
		t.note(v.cookie != "", "a first page without a cookie")
		for _, l := range later[again*i : again*(i+1)] {
			t.note(l.arm == v.arm, "cookie %s: on %s after %s", v.cookie, l.arm, v.arm)
		}
		t.note(forged[i].reason != "cookie", "a forged cookie is believed")
	}
	if len(both) < 2 {
		return fmt.Errorf("all %d browsers were put on one side", browsers)
	}
	return nil
}

// why asks for the reason of an answer, and compares it with the page and with what the answer itself said.
func why(ctx context.Context, s *check.Stack) (check.Result, error) {
	const users = 150
	who, from := names(s.Rand(), users), addresses(s.Rand(), users)
	doors := map[string]door{}
	for _, service := range []string{splitter, byCookie, byAddress} {
		d, err := open(ctx, s, service)
		if err != nil {
			return check.Result{}, err
		}
		if err := d.well(ctx); err != nil {
			return check.Result{}, err
		}
		doors[service] = d
	}
	var t tally
	reasons := map[string]int{}
	compare := func(door, name, value string, headers ...string) (visit, error) {
		said, err := doors[door].why(ctx, name, value)
		if err != nil {
			return visit{}, err
		}
		v, err := doors[door].get(ctx, headers...)
		t.note(err == nil && said.Arm == v.arm && said.Arm == v.said && said.Reason == v.reason && said.Reason != "",
			"%s %q: /why says %s by %s, the page is of %s, its headers say %s by %s", door, value, said.Arm, said.Reason, v.arm, v.said, v.reason)
		reasons[v.reason]++
		return v, err
	}
	for i := range users {
		if _, err := compare(splitter, "header", userHeader+": "+who[i], userHeader, who[i]); err != nil {
			return check.Result{}, err
		}
		if _, err := compare(byAddress, "address", from[i].String(), "X-Forwarded-For", from[i].String()); err != nil {
			return check.Result{}, err
		}
		// Dealt in turns: who asks first is told of the next turn, and nobody else takes it.
		v, err := compare(byCookie, "", "")
		if err != nil {
			return check.Result{}, err
		}
		if v.cookie == "" {
			return check.Unknown("a browser got no cookie"), nil
		}
		if _, err := compare(byCookie, "cookie", v.cookie, "Cookie", v.cookie); err != nil {
			return check.Result{}, err
		}
	}
	res := check.Decide(t.right == t.all, "%v answers came from where /why said, for the reason it said; reasons: %v", &t, reasons)
	res = res.Want("all").Of(t.all).Because("%s", strings.Join(t.odd, "\n"))
	for _, d := range doors {
		res = d.undisturbed(res)
	}
	return res, nil
}
