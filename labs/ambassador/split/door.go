package split

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"distlab/lab/check"
)

// way is how a client comes.
type way struct {
	name   string
	client *http.Client
}

// ways are those in which a promise to users must hold: connections that are kept, a new one each time, HTTP/2.
func ways() []way {
	var http2 http.Protocols
	http2.SetUnencryptedHTTP2(true)
	return []way{
		{"kept", &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}},
		{"anew", &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}},
		{"HTTP/2", &http.Client{Transport: &http.Transport{Protocols: &http2}}},
	}
}

// workers ask at a time.
const workers = 16

// door is one of the splitters, as a client of its published ports sees it.
type door struct {
	service, web string
	moved        *atomic.Int64 // visits whose own arm could not be used
}

func open(m *check.M, service string) door {
	return door{service, m.Address(service, webPort), new(atomic.Int64)}
}

// undisturbed is a result that rests on both arms being in use all the time. Where one was left, which a machine can bring
// about that is too busy for its own health checks, a failure would be none of the splitter's.
func undisturbed(res check.Result, doors ...door) check.Result {
	for _, d := range doors {
		if n := d.moved.Load(); n > 0 && res.Verdict == check.Fail {
			return check.Unknown("%d visits found their arm out of use; it would have said: %s", n, res.Measured)
		}
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
func (d door) get(ctx context.Context, w way, headers ...string) (v visit, err error) {
	return d.ask(ctx, w, http.MethodGet, "/about", nil, headers...)
}

func (d door) ask(ctx context.Context, w way, method, path string, body []byte, headers ...string) (v visit, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+d.web+path, bytes.NewReader(body))
	if err != nil {
		return v, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	begun := time.Now()
	res, err := w.client.Do(req)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	v.took = time.Since(begun)
	if err != nil {
		return v, err
	}
	page := string(text)
	switch {
	case res.StatusCode != http.StatusOK:
		return v, fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(page[:min(len(page), 200)]))
	case strings.Contains(page, "<h1>"+title0+"</h1>"):
		v.arm = arm0
	case strings.Contains(page, "<h1>"+title1+"</h1>"):
		v.arm = arm1
	case method == http.MethodGet:
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

func (d door) why(m *check.M, name, value string) (r reasoning) {
	query := ""
	if name != "" {
		query = url.Values{name: {value}}.Encode()
	}
	m.JSON(d.service, adminPort, "/why?"+query, &r)
	return r
}

// setWeights gives the arms other weights by the admin port.
func setWeights(m *check.M, production, experiment int) {
	body := fmt.Appendf(nil, `{%q: %d, %q: %d}`, arm0, production, arm1, experiment)
	p := m.Do(http.MethodPut, splitter, adminPort, "/weights", body, "Authorization", "Bearer "+adminToken)
	check.Must(p.Is(http.StatusOK))
}

// arms are a splitter's, by its own account.
type arms []arm

type arm struct {
	Name   string
	Weight int
	Up     bool
}

// up says whether an arm is in use.
func (as arms) up(name string) bool {
	return slices.ContainsFunc(as, func(a arm) bool { return a.Name == name && a.Up })
}

func (d door) arms(m *check.M) arms {
	var status struct{ Arms arms }
	m.JSON(d.service, adminPort, "/status", &status)
	return status.Arms
}

// patience is what a splitter gets to see that an arm is there, or is not, on a machine that is busy.
const patience = 20 * time.Second

// well waits until both arms are in use with the weights of the file: what an earlier claim did is over. A program that
// stands in for the splitter has no such account; none of the claims that it keeps follows one that leaves anything.
func (d door) well(m *check.M) {
	if m.Stack.Variant == standIn && d.service != byCookie {
		return
	}
	m.Await(patience, "both arms of "+d.service, func(m *check.M) error {
		if is := d.arms(m); !slices.Equal(is, arms{{arm0, 9, true}, {arm1, 1, true}}) {
			return fmt.Errorf("%v", is)
		}
		return nil
	})
}
