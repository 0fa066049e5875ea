package health

import (
	"context"
	"fmt"
	"net/http"

	"distlab/lab/check"
)

// What can be wrong with a server that answers. Each undo can be repeated, and does no harm where nothing was done.
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
	otherPassword = trouble{
		do:   "ALTER USER health@'%' IDENTIFIED BY 'an0ther-one'",
		undo: "ALTER USER health@'%' IDENTIFIED BY 's3cret-of-health'",
		look: "SELECT SHA2(authentication_string, 256) FROM mysql.user WHERE user = 'health'",
	}
)

// trouble is made and undone with SQL, and seen with it, too: that is its receipt.
type trouble struct{ do, undo, look string }

// make makes it in a server that is ready before. The end of the claim undoes it.
func (t trouble) make(ctx context.Context, s *check.Stack) (check.Result, bool, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, false, err
	}
	_, err := s.Run(ctx, database, t.do, mysql(t.do), mysql(t.undo), func(ctx context.Context) (string, error) {
		return sql(ctx, s, t.look)
	})
	return check.Result{}, err == nil, err
}

// queryFails takes the query's table away. The server itself is well.
func queryFails(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := tableAway.make(ctx, s); !ok {
		return res, err
	}
	return refused(ctx, s, "1146", soonWithin)
}

// loginRefused changes the user's password in the server, not in the adapter. It holds a connection open, and must find out
// all the same: clients have to log in.
func loginRefused(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := otherPassword.make(ctx, s); !ok {
		return res, err
	}
	return refused(ctx, s, "login refused", soonWithin+connMaxAge)
}

// readOnly is what a server becomes that was demoted. Root may still write, the adapter's user may not.
func readOnly(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := noWrites.make(ctx, s); !ok {
		return res, err
	}
	return refused(ctx, s, "read-only", soonWithin)
}

// twoQuestions asks both of a server that should get no clients and must not be restarted. The restarter looks on for
// longer than it would take.
func twoQuestions(ctx context.Context, s *check.Stack) (check.Result, error) {
	was, err := s.State(ctx, database)
	if err != nil {
		return check.Result{}, err
	}
	if res, ok, err := noWrites.make(ctx, s); !ok {
		return res, err
	}
	w, err := until(ctx, s, "/readyz", http.StatusServiceUnavailable, downWithin+2*margin, 5*timeout)
	if err != nil {
		return check.Result{}, err
	}
	before, err := askOrchestrator(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	// Each time a check of its own, not the answer of the one before.
	const rounds, probed = 2 * fall, 2*threshold + 1
	alive, asked, counted, restarted := 0, 0, -1, false
	for !restarted {
		var a answer
		var o orchestrator
		if err := check.Wait(ctx, "the next check", func(ctx context.Context) (err error) {
			is, err := s.State(ctx, database)
			if restarted = err == nil && is.StartedAt.After(was.StartedAt); restarted || err != nil {
				return err
			}
			if o, err = askOrchestrator(ctx, s); err != nil {
				return err
			}
			if a, err = ask(ctx, s, "/livez"); err == nil && a.Successes-a.Failures == counted {
				err = fmt.Errorf("the answer is still that of the check before")
			}
			return err
		}); err != nil {
			return check.Result{}, err
		}
		if restarted {
			break
		}
		counted = a.Successes - a.Failures
		asked++
		if a.Code == http.StatusOK {
			alive++
		}
		if asked >= rounds && o.Probes-before.Probes >= probed {
			break
		}
	}
	ok := w.took >= 0 && alive == asked && asked >= rounds && !restarted
	res := check.Decide(ok, "/readyz 503 %v, /livez 200 in %d of %d checks meanwhile, restarted: %t", w, alive, asked, restarted)
	return res.Want("503 and 200, not restarted").Of(asked+1).Because("readiness: %s", w.last.Reason), nil
}
