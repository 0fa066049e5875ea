package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"distlab/lab/check"
)

// orchestrator is the restarter's /status.
type orchestrator struct {
	State    string     `json:"state"`
	Probes   int        `json:"probes"`
	Restarts int        `json:"restarts"`
	Reason   string     `json:"reason"`
	Held     *time.Time `json:"held_until"`
	Outage   float64    `json:"last_outage_seconds"`
}

func askOrchestrator(ctx context.Context, s *check.Stack) (o orchestrator, err error) {
	addr, err := s.Address(ctx, pod, restarterPort)
	if err != nil {
		return o, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/status", nil)
	if err != nil {
		return o, err
	}
	res, err := client.Do(req)
	if err != nil {
		return o, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the restarter's status is %s", res.Status)
	}
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	return o, err
}

// held is a measurement that the restarter is kept out of: it is about the adapter alone. A hold is a lease: should
// nobody end it, it ends by itself.
func held(measure func(context.Context, *check.Stack) (check.Result, error)) func(context.Context, *check.Stack) (check.Result, error) {
	return func(ctx context.Context, s *check.Stack) (check.Result, error) {
		// Healed last, after what the measurement has broken: else the restarter would heal that.
		_, err := s.Signal(ctx, restarter, "SIGUSR1", func(ctx context.Context) (string, error) {
			o, err := askOrchestrator(ctx, s)
			if err == nil && o.Held == nil {
				return "it restarts", nil
			}
			return "it is held", err
		}, check.Back("SIGUSR2"))
		if err != nil {
			return check.Result{}, err
		}
		return measure(ctx, s)
	}
}

// process is the letter of the server's process state, as proc(5) has it: T is stopped.
func process(ctx context.Context, s *check.Stack) (string, error) {
	out, err := s.Exec(ctx, database, "sh", "-c", `for f in /proc/[0-9]*/stat; do
		read -r pid name state rest <"$f" || continue
		case $name in "(mysqld)" | "(mariadbd)") echo "$state"; exit ;; esac
	done 2>/dev/null`)
	if err != nil {
		return "", err
	}
	switch state := strings.TrimSpace(out.Stdout); state {
	case "":
		return "", errors.New("no process of the server")
	case "T":
		return "stopped", nil
	}
	return "runs", nil
}

// restarts freezes the server's process, as a fault in it would: nothing ends, so that no restart policy sees anything.
// The adapter tells, the restarter ends the process, the engine starts it again. The outage is measured by what clients
// ask before they come: /readyz, behind which is a query that writes.
func restarts(ctx context.Context, s *check.Stack) (check.Result, error) {
	if res, ok, err := ready(ctx, s); !ok {
		return res, err
	}
	was, err := s.State(ctx, database)
	if err != nil {
		return check.Result{}, err
	}
	see := func(ctx context.Context) (string, error) { return process(ctx, s) }
	begun := time.Now()
	if _, err := s.Signal(ctx, database, "SIGSTOP", see, check.Back("SIGCONT")); err != nil {
		return check.Result{}, err
	}
	gone, err := until(ctx, s, "/readyz", http.StatusServiceUnavailable, downWithin+2*margin, 5*timeout)
	if err != nil {
		return check.Result{}, err
	}
	if gone.took < 0 {
		return check.Unknown("the freeze did not show: %d %s", gone.last.Code, gone.last.Reason), nil
	}
	is := was
	patience, cancel := context.WithDeadline(ctx, begun.Add(restartWithin+2*margin))
	defer cancel()
	_ = check.Wait(patience, "a restart", func(ctx context.Context) (err error) {
		if is, err = s.State(ctx, database); err == nil && !is.StartedAt.After(was.StartedAt) {
			err = errors.New("not yet")
		}
		return err
	})
	if ctx.Err() != nil {
		return check.Result{}, context.Cause(ctx)
	}
	want := fmt.Sprintf("started again within %v, ready within %v of that, once", restartWithin, startWithin)
	if !is.StartedAt.After(was.StartedAt) {
		return check.Decide(false, "not restarted in %v, nobody is served", time.Since(begun).Round(time.Second)).
			Want("%s", want).Of(len(gone.answers)).Because("the adapter said: %s", gone.last.Reason), nil
	}
	dead := is.StartedAt.Sub(begun)
	back, err := until(ctx, s, "/readyz", http.StatusOK, startWithin+2*margin, 5*timeout)
	if err != nil {
		return check.Result{}, err
	}
	outage, start := time.Since(begun), time.Since(is.StartedAt)
	if is, err = s.State(ctx, database); err != nil {
		return check.Result{}, err
	}
	times := is.Restarts - was.Restarts
	ok := dead <= restartWithin && back.took >= 0 && start <= startWithin && times == 1 && back.slowest <= timeout+margin
	res := check.Decide(ok, "frozen; started again after %.1f s, ready %.1f s later; an outage of %.1f s, %d restart(s)",
		dead.Seconds(), (outage - dead).Seconds(), outage.Seconds(), times)
	return res.Want("%s", want).Of(len(gone.answers)+len(back.answers)).
		Because("the adapter said: %s", gone.last.Reason).Because("%s", strings.Join(back.failed, "\n")), nil
}
