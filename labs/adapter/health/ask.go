package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"
)

// answer is one of the adapter's, and how long it took to come.
type answer struct {
	Status    string     `json:"status"`
	Reason    string     `json:"reason"`
	Age       float64    `json:"age_seconds"`
	Failures  int        `json:"failures"`
	Successes int        `json:"successes"`
	Code      int        `json:"-"`
	Page      check.Page `json:"-"`
}

// ask asks for /livez or /readyz on the published port, on a connection of its own, as a prober does.
func ask(m *check.M, path string) (a answer) {
	p := m.Get(pod, healthPort, path+"?format=json")
	check.Must(json.Unmarshal(p.Body, &a))
	a.Code, a.Page = p.Status, p
	return a
}

// watch is what was seen while an answer was waited for.
type watch struct {
	took    check.Took // until the answer that was wanted
	slowest time.Duration
	asked   int
	silent  error // a question without an answer
	last    answer
	said    string // all that was answered, heads and bodies
}

// until asks until the answer is the code that is wanted, with these words in its reason, or patience is over. A
// question that is not answered in five times the adapter's own timeout ends it: who waits in vain once need not again.
func until(m *check.M, path string, want int, words string, limit time.Duration) (w watch) {
	w.took, _ = m.Until(limit+2*margin, func(m *check.M) error {
		if w.silent != nil {
			return w.silent
		}
		begun := time.Now()
		var a answer
		_, silent := m.Until(5*timeout, func(m *check.M) error { a = ask(m, path); return nil })
		w.asked++
		w.slowest = max(w.slowest, time.Since(begun))
		if silent != nil {
			w.silent = fmt.Errorf("no answer: %w", silent)
			return w.silent
		}
		w.last = a
		w.said += fmt.Sprint(a.Page.Header) + string(a.Page.Body)
		if a.Code != want || !strings.Contains(a.Reason, words) {
			return fmt.Errorf("%d %s", a.Code, a.Reason)
		}
		return nil
	})
	return w
}

// is wants an answer to be that code for that reason, and to come in time.
func is(path string, code int, words string) func(*check.M) error {
	return func(m *check.M) error {
		a := ask(m, path)
		switch {
		case a.Page.Took > timeout+margin:
			return fmt.Errorf("an answer after %v", a.Page.Took)
		case a.Code != code || !strings.Contains(a.Reason, words) || code != http.StatusOK && a.Reason == "":
			return fmt.Errorf("%d %q", a.Code, a.Reason)
		}
		return nil
	}
}

// leaks are the secrets that are in what was answered, or in the adapter's log.
func leaks(m *check.M, said string) (n int) {
	text := m.Logs(adapter, time.Time{}) + said
	for _, secret := range secrets {
		n += strings.Count(text, secret)
	}
	return n
}

// ready is the precondition of most claims: the server is seen to be ready, so that what follows is the fault's doing.
func ready(m *check.M) { m.Await(20*time.Second, "readiness", is("/readyz", http.StatusOK, "")) }

// agentLine is what HAProxy's agent-check would read.
func agentLine(m *check.M) string {
	conn := check.Got(new(net.Dialer).DialContext(m.Context(), "tcp", m.Address(pod, agentPort)))
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * timeout))
	return strings.TrimSpace(string(check.Got(io.ReadAll(conn))))
}

// all is what the adapter says in each of its forms.
func all(m *check.M) string {
	alive, will := ask(m, "/livez"), ask(m, "/readyz")
	return fmt.Sprintf("/livez %d, /readyz %d %s, agent %q", alive.Code, will.Code, will.Status, agentLine(m))
}

// mysql is the command that runs a statement as root, in the server's container.
func mysql(statement string) []string {
	return []string{
		"sh", "-c", `MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysql --user=root --batch --skip-column-names --execute "$1"`, "sh", statement,
	}
}

// sql runs a statement as root with the server's own client, and is what it printed.
func sql(m *check.M, statement string) string { return m.Exec(database, mysql(statement)...) }

// counter is one of the server's own.
func counter(m *check.M, name string) int {
	_, value, _ := strings.Cut(sql(m, "SHOW GLOBAL STATUS LIKE '"+name+"'"), "\t")
	return check.Got(strconv.Atoi(value))
}

// state is the letter of the server's process state, as proc(5) has it, in words: T is stopped.
func state(m *check.M) string {
	out := m.Exec(database, "sh", "-c", `for f in /proc/[0-9]*/stat; do
		read -r pid name state rest <"$f" || continue
		case $name in "(mysqld)" | "(mariadbd)") echo "$state"; exit ;; esac
	done 2>/dev/null`)
	switch out {
	case "":
		check.Must(errors.New("no process of the server"))
	case "T":
		return "stopped"
	}
	return "runs"
}

// orchestrator is the restarter's /status.
type orchestrator struct {
	Probes   int        `json:"probes"`
	Restarts int        `json:"restarts"`
	Held     *time.Time `json:"held_until"`
}

func askOrchestrator(m *check.M) (o orchestrator) {
	m.JSON(pod, restarterPort, "/status", &o)
	return o
}

// by makes a claim's Measure. The claims here are about time: beside each, the adapter's admin port is asked, which has
// nothing to do with MySQL. Where that is late too, a failure says nothing.
func by(measure func(*check.M) check.Result) func(context.Context, *check.Stack) (check.Result, error) {
	control := check.Flow{Name: "control", Rate: 20, URL: fmt.Sprintf("http://%s:%d/livez", pod, adminPort), Control: true}
	return check.By(func(m *check.M) (res check.Result) {
		t := m.Beside(0, []check.Flow{control}, func() { res = measure(m) })
		return t.Fair(res)
	})
}

// alone is a measurement that the restarter is kept out of: it is about the adapter. A hold is a lease: should nobody
// end it, it ends by itself.
func alone(measure func(*check.M) check.Result) func(*check.M) check.Result {
	return func(m *check.M) check.Result {
		// Healed last, after what the measurement has broken: else the restarter would heal that.
		m.Signal(restarter, "SIGUSR1", func(m *check.M) string {
			if askOrchestrator(m).Held == nil {
				return "it restarts"
			}
			return "it is held"
		}, check.Back("SIGUSR2"))
		return measure(m)
	}
}
