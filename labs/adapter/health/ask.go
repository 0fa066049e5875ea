package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"distlab/lab/check"
)

// answer is one of the adapter's, and how long it took to come.
type answer struct {
	Code      int
	Status    string  `json:"status"`
	Reason    string  `json:"reason"`
	Age       float64 `json:"age_seconds"`
	Failures  int     `json:"failures"`
	Successes int     `json:"successes"`

	took time.Duration
	raw  string // head and body
}

// client asks each time on a connection of its own, as a prober does.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// ask asks for /livez or /readyz on the published port.
func ask(ctx context.Context, s *check.Stack, path string) (answer, error) {
	addr, err := s.Address(ctx, pod, healthPort)
	if err != nil {
		return answer{}, err
	}
	return get(ctx, "http://"+addr+path+"?format=json")
}

func get(ctx context.Context, url string) (a answer, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	begun := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	a.took = time.Since(begun)
	if err != nil {
		return a, err
	}
	a.Code, a.raw = res.StatusCode, fmt.Sprint(res.Header)+string(body)
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(body, &a); err != nil {
			return a, fmt.Errorf("%s: %w", url, err)
		}
	}
	return a, nil
}

// watch is what was seen while an answer was waited for.
type watch struct {
	answers []answer
	slowest time.Duration
	failed  []string      // questions without an answer
	took    time.Duration // until the answer that was wanted; -1: it never came
	last    answer
}

// until asks until the answer is the code that is wanted, the time is up, or a question is not answered in all of its
// patience.
func until(ctx context.Context, s *check.Stack, path string, want int, limit, patience time.Duration) (watch, error) {
	w := watch{took: -1}
	begun := time.Now()
	all, cancelAll := context.WithTimeout(ctx, limit)
	defer cancelAll()
	err := check.Wait(all, strconv.Itoa(want), func(context.Context) error {
		one, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		sent := time.Now()
		a, err := ask(one, s, path)
		w.slowest = max(w.slowest, time.Since(sent))
		if err != nil {
			w.failed = append(w.failed, err.Error())
			if one.Err() != nil {
				cancelAll() // who waits in vain once need not wait again
			}
			return err
		}
		w.answers, w.last = append(w.answers, a), a
		if a.Code != want {
			return fmt.Errorf("%d %s", a.Code, a.Reason)
		}
		w.took = time.Since(begun)
		return nil
	})
	if ctx.Err() != nil {
		return w, context.Cause(ctx)
	}
	if err != nil {
		w.took = -1
	}
	return w, nil
}

func (w watch) in(limit time.Duration) bool { return w.took >= 0 && w.took <= limit }

func (w watch) String() string {
	if w.took < 0 {
		return "never"
	}
	return fmt.Sprintf("after %.1f s", w.took.Seconds())
}

// leaks are the secrets that are in any of the answers, or in the adapter's log.
func leaks(ctx context.Context, s *check.Stack, answers ...answer) (int, error) {
	text, err := s.Logs(ctx, adapter, time.Time{})
	if err != nil {
		return 0, err
	}
	for _, a := range answers {
		text += a.raw
	}
	n := 0
	for _, secret := range secrets {
		n += strings.Count(text, secret)
	}
	return n, nil
}

// ready is the precondition of most claims: the server is seen to be ready, so that what follows is the fault's doing.
func ready(ctx context.Context, s *check.Stack) (check.Result, bool, error) {
	w, err := until(ctx, s, "/readyz", http.StatusOK, 15*time.Second, 5*time.Second)
	if err != nil {
		return check.Result{}, false, err
	}
	if w.took < 0 {
		return check.Unknown("it was not ready before: %d %s %v", w.last.Code, w.last.Reason, w.failed), false, nil
	}
	return check.Result{}, true, nil
}

// mysql is the command that runs a statement as root, in the server's container.
func mysql(statement string) []string {
	return []string{
		"sh", "-c", `MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysql --user=root --batch --skip-column-names --execute "$1"`, "sh", statement,
	}
}

// sql runs a statement as root with the server's own client, and is what it printed.
func sql(ctx context.Context, s *check.Stack, statement string) (string, error) {
	out, err := s.Exec(ctx, database, mysql(statement)...)
	if err == nil && out.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(out.Stderr))
	}
	if err != nil {
		return "", fmt.Errorf("mysql: %w", err)
	}
	return strings.TrimSpace(out.Stdout), nil
}

// counter is one of the server's own.
func counter(ctx context.Context, s *check.Stack, name string) (int, error) {
	text, err := sql(ctx, s, "SHOW GLOBAL STATUS LIKE '"+name+"'")
	if err != nil {
		return 0, err
	}
	_, value, _ := strings.Cut(text, "\t")
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("the server's counter %s is %q", name, text)
	}
	return n, nil
}
