package split

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"distlab/lab/check"
)

// door is one of the splitters, as a client of its published ports sees it.
type door struct {
	web, admin string
	client     *http.Client
	moved      *atomic.Int64 // visits whose own arm could not be used
}

func open(ctx context.Context, s *check.Stack, service string) (door, error) {
	web, err := s.Address(ctx, service, webPort)
	if err != nil {
		return door{}, err
	}
	admin, err := s.Address(ctx, service, adminPort)
	if err != nil {
		return door{}, err
	}
	return door{web, admin, &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: workers},
		Timeout:   10 * time.Second,
	}, new(atomic.Int64)}, nil
}

// undisturbed is a result that rests on both arms being in use all the time. Where one was left, which a machine can bring
// about that is too busy for its own health checks, a failure would be none of the splitter's.
func (d door) undisturbed(res check.Result) check.Result {
	if n := d.moved.Load(); n > 0 && res.Verdict == check.Fail {
		return check.Unknown("%d visits found their arm out of use; it would have said: %s", n, res.Measured)
	}
	return res
}

// visit is one answer of the shop.
type visit struct {
	arm    string // by what is on the page
	said   string // by the splitter's header
	reason string
	cookie string // name=value, where one was set
	took   time.Duration
}

// get asks for a page. Whose page it is, is told by its title: the splitter's own word is no evidence. What is no
// page of either build is an error.
func (d door) get(ctx context.Context, headers ...string) (v visit, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.web+"/about", nil)
	if err != nil {
		return v, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	begun := time.Now()
	res, err := d.client.Do(req)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	v.took = time.Since(begun)
	if err != nil {
		return v, err
	}
	page := string(body)
	switch {
	case res.StatusCode != http.StatusOK:
		return v, fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(page[:min(len(page), 200)]))
	case strings.Contains(page, "<h1>"+title0+"</h1>"):
		v.arm = arm0
	case strings.Contains(page, "<h1>"+title1+"</h1>"):
		v.arm = arm1
	default:
		return v, fmt.Errorf("a page of neither build: %.200s", page)
	}
	v.said, v.reason = res.Header.Get("X-Split-Arm"), res.Header.Get("X-Split-Reason")
	if v.reason == "fallback" || v.reason == "retry" {
		d.moved.Add(1)
	}
	for _, c := range res.Cookies() {
		v.cookie = c.Name + "=" + c.Value
	}
	return v, nil
}

// reasoning is the splitter's /why.
type reasoning struct {
	Arm    string `json:"arm"`
	Reason string `json:"reason"`
}

func (d door) why(ctx context.Context, name, value string) (r reasoning, err error) {
	query := ""
	if name != "" {
		query = url.Values{name: {value}}.Encode()
	}
	err = d.ask(ctx, http.MethodGet, "/why?"+query, "", &r)
	return r, err
}

// weights are those in force.
func (d door) weights(ctx context.Context) (w map[string]int, err error) {
	err = d.ask(ctx, http.MethodGet, "/weights", "", &w)
	return w, err
}

func (d door) setWeights(ctx context.Context, production, experiment int) error {
	var now map[string]int
	return d.ask(ctx, http.MethodPut, "/weights", fmt.Sprintf(`{%q: %d, %q: %d}`, arm0, production, arm1, experiment), &now)
}

// ask asks the admin port for JSON.
func (d door) ask(ctx context.Context, method, path, body string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+d.admin+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	return err
}

// metric is the sum of a counter's or a gauge's values on /metrics, over all labels that have this text in them.
func (d door) metric(ctx context.Context, name, labels string) (sum float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := d.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != '{' && rest[0] != ' ' || !strings.Contains(rest, labels) {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &value); err != nil {
			return 0, fmt.Errorf("metric %q: %w", line, err)
		}
		sum += value
	}
	return sum, nil
}

// well waits until both arms are in use with the weights of the file: what an earlier claim did is over.
func (d door) well(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return check.Wait(ctx, "both arms", func(ctx context.Context) error {
		var status struct {
			Arms []struct {
				Name   string
				Weight int
				Up     bool
			}
		}
		if err := d.ask(ctx, http.MethodGet, "/status", "", &status); err != nil {
			return err
		}
		text := fmt.Sprint(status.Arms)
		if text != fmt.Sprintf("[{%s 9 true} {%s 1 true}]", arm0, arm1) {
			return errors.New(text)
		}
		return nil
	})
}

// workers ask at a time.
const workers = 16

// each calls f with 0 to n-1, several at a time, and is the first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
