package health

import (
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
func (t trouble) make(m *check.M) *check.Fault {
	ready(m)
	return m.Run(database, t.do, mysql(t.do), mysql(t.undo), func(m *check.M) string { return sql(m, t.look) })
}

// queryFails takes the query's table away. The server itself is well, and nobody shall restart it.
func queryFails(m *check.M) check.Result {
	tableAway.make(m)
	return refused(m, "(error 1146)", soonWithin, http.StatusOK)
}

// loginRefused changes the user's password in the server, not in the adapter. It holds a connection open, and must find out
// all the same: clients have to log in.
func loginRefused(m *check.M) check.Result {
	otherPassword.make(m)
	return refused(m, "login refused: wrong user or password (error 1045)", soonWithin+connMaxAge, 0)
}

// readOnly is what a server becomes that was demoted. Root may still write, the adapter's user may not.
func readOnly(m *check.M) check.Result {
	noWrites.make(m)
	return refused(m, "the server is read-only", soonWithin, http.StatusOK)
}

// twoQuestions asks both of a server that should get no clients and must not be restarted. The restarter looks on for
// longer than it would take.
func twoQuestions(m *check.M) check.Result {
	was := m.State(database)
	noWrites.make(m)
	w := until(m, "/readyz", http.StatusServiceUnavailable, "read-only", downWithin)
	before := askOrchestrator(m)
	// Each time a check of its own, not the answer of the one before.
	const rounds, probed = 2 * fall, 2*threshold + 1
	var alive check.Tally
	counted, restarted := -1, false
	for !restarted {
		var a answer
		var o orchestrator
		m.Await(hold+downWithin, "the next check", func(m *check.M) error {
			is := m.State(database)
			if restarted = is.StartedAt.After(was.StartedAt); restarted {
				return nil
			}
			o, a = askOrchestrator(m), ask(m, "/livez")
			if a.Successes-a.Failures == counted {
				return fmt.Errorf("the answer is still that of the check before")
			}
			return nil
		})
		if restarted {
			break
		}
		counted = a.Successes - a.Failures
		alive.Note(a.Code == http.StatusOK, "%d %s", a.Code, a.Reason)
		if alive.All() >= rounds && o.Probes-before.Probes >= probed {
			break
		}
	}
	ok := w.took != check.Never && alive.Whole() && alive.All() >= rounds && !restarted
	return check.Decide(ok, "/readyz 503 after %v, /livez 200 in %v checks meanwhile, restarted: %t", w.took, &alive, restarted).
		Want("503 and 200, not restarted").Of(alive.All()+1).Because("readiness: %s", w.last.Reason).Because("%s", alive.Odd())
}
