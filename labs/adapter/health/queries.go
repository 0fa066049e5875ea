package health

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"distlab/lab/check"
)

// Two things that can be wrong with a server that answers. Each statement can be repeated: what was left by a run that
// was cut off is undone by the next.
var (
	tableAway = trouble{
		do:   "RENAME TABLE shop.heartbeat TO shop.heartbeat_away",
		undo: "CREATE TABLE IF NOT EXISTS shop.heartbeat (id TINYINT PRIMARY KEY, at DATETIME(6) NOT NULL); DROP TABLE IF EXISTS shop.heartbeat_away",
		look: "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = 'heartbeat'",
	}
	noWrites = trouble{
		do:   "SET GLOBAL read_only = ON",
		undo: "SET GLOBAL read_only = OFF",
		look: "SELECT @@GLOBAL.read_only",
	}
)

// trouble is made and undone with SQL, and seen with it, too: that is its receipt.
type trouble struct{ do, undo, look string }

// make makes it, and says how it was seen. The server must answer before and after. heal must be called.
func (t trouble) make(ctx context.Context, s *check.Stack) (receipt string, heal func() error, err error) {
	heal = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, err := sql(ctx, s, t.undo)
		return err
	}
	if _, err := sql(ctx, s, t.undo); err != nil {
		return "", heal, err
	}
	if res, ok, err := ready(ctx, s); err != nil {
		return "", heal, err
	} else if !ok {
		return "", heal, fmt.Errorf("%s", res.Detail)
	}
	before, err := sql(ctx, s, t.look)
	if err != nil {
		return "", heal, err
	}
	if _, err := sql(ctx, s, t.do); err != nil {
		return "", heal, err
	}
	during, err := sql(ctx, s, t.look)
	if err != nil {
		return "", heal, err
	}
	if before == during {
		return "", heal, fmt.Errorf("%w: before and during it was %q", check.ErrNoEffect, before)
	}
	return fmt.Sprintf("%s: before %s, during %s", t.do, before, during), heal, nil
}

// queryFails takes the query's table away. The server itself is well.
func queryFails(ctx context.Context, s *check.Stack) (res check.Result, err error) {
	receipt, heal, err := tableAway.make(ctx, s)
	defer func() { err = first(err, heal()) }()
	if err != nil {
		return res, err
	}
	res, err = refused(ctx, s, "1146")
	return res.Because("%s", receipt), err
}

// readOnly is what a server becomes that was demoted. Root may still write, the adapter's user may not.
func readOnly(ctx context.Context, s *check.Stack) (res check.Result, err error) {
	receipt, heal, err := noWrites.make(ctx, s)
	defer func() { err = first(err, heal()) }()
	if err != nil {
		return res, err
	}
	res, err = refused(ctx, s, "read-only")
	return res.Because("%s", receipt), err
}

// twoQuestions asks both of a server that should get no clients and must not be restarted.
func twoQuestions(ctx context.Context, s *check.Stack) (res check.Result, err error) {
	receipt, heal, err := noWrites.make(ctx, s)
	defer func() { err = first(err, heal()) }()
	if err != nil {
		return res, err
	}
	w, err := until(ctx, s, "/readyz", http.StatusServiceUnavailable, downWithin+2*margin, 5*timeout)
	if err != nil {
		return res, err
	}
	// Each time a check of its own, not the answer of the one before.
	const rounds = 2 * fall
	alive, counted := 0, -1
	for range rounds {
		var a answer
		if err := check.Wait(ctx, "the next check", func(ctx context.Context) (err error) {
			if a, err = ask(ctx, s, "/livez"); err == nil && a.Successes-a.Failures == counted {
				err = fmt.Errorf("the answer is still that of the check before")
			}
			return err
		}); err != nil {
			return res, err
		}
		counted = a.Successes - a.Failures
		if a.Code == http.StatusOK {
			alive++
		}
	}
	res = check.Decide(w.took >= 0 && alive == rounds, "/readyz 503 %v, /livez 200 in %d of %d checks meanwhile", w, alive, rounds)
	return res.Want("503 and 200").Of(rounds+1).Because("%s", receipt).Because("readiness: %s", w.last.Reason), nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
