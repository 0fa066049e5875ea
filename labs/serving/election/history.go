package election

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"distlab/lab/check"

	"github.com/anishathalye/porcupine"
)

// entry is a line of the ledger's history.
type entry struct {
	Seq, Token, Session, Balance int64
	Op, Verdict, Writer, Account string
	ID                           string
}

const accepted = "accepted"

// newest is the number of the ledger's last entry.
func newest(m *check.M) int64 {
	var s struct{ Seq int64 }
	m.JSON(ledger, adminPort, "/status", &s)
	return s.Seq
}

// since are the ledger's entries behind a number.
func since(m *check.M, seq int64) (all []entry) {
	for {
		var part struct {
			Entries []entry
			Newest  int64
		}
		m.JSON(ledger, httpPort, fmt.Sprintf("/history?after=%d", seq), &part)
		all = append(all, part.Entries...)
		if len(part.Entries) == 0 {
			return all
		}
		if seq = part.Entries[len(part.Entries)-1].Seq; seq >= part.Newest {
			return all
		}
	}
}

// alone notes whether each accepted write was one of the only owner at that time: no token is older than one that was seen
// before it, and none has two writers.
func alone(as *check.Tally, all []entry) {
	seen, writers := int64(0), map[int64]string{}
	for _, e := range all {
		if e.Verdict != accepted {
			continue
		}
		if e.Op == "write" {
			as.Note(e.Token >= seen, "write %d: %s with token %d after token %d", e.Seq, e.Writer, e.Token, seen)
		}
		seen = max(seen, e.Token)
		if w, known := writers[e.Token]; known && w != e.Writer {
			as.Note(false, "token %d is %s's and %s's", e.Token, w, e.Writer)
		}
		writers[e.Token] = e.Writer
	}
}

// operation is what a client asked and was told.
type operation struct {
	id, account string
	add         int64 // 0: it looked
	call, ret   time.Duration
	known       bool // it was answered
	status      int  // 0: no answer
	balance     int64
	token       int64
	writer      string
	owner       string // whom the address says that it has asked
	why         string
}

// unclear is whether an operation may have been done: one that was answered was, and of one with 503 it is said that it was not.
func (o operation) unclear() bool {
	return !o.known && o.status != http.StatusServiceUnavailable && o.status != http.StatusNotFound
}

// clients are at work on accounts of their own, at the one address.
type clients struct {
	url   string
	names []string
	began time.Time
	after int64 // the ledger's number when they began
	count atomic.Int64
	stop  atomic.Bool
	http  *http.Client

	mu  sync.Mutex
	ops []operation
}

// newClients opens accounts, each with a first operation.
func newClients(m *check.M, accounts int) *clients {
	c := &clients{
		url: "http://" + m.Address(proxy, httpPort), began: time.Now(), after: newest(m),
		http: &http.Client{Timeout: patience + 10*time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}},
	}
	for range accounts {
		c.names = append(c.names, m.Fresh())
	}
	for _, name := range c.names {
		if o := c.do(m.Context(), name, 1, ""); !o.known {
			m.Unknown("an account cannot be opened: %d %s", o.status, o.why)
		}
	}
	return c
}

// do is one operation; extra is more of a query.
func (c *clients) do(ctx context.Context, account string, add int64, extra string) operation {
	o := operation{id: fmt.Sprintf("%s-%d", account, c.count.Add(1)), account: account, add: add}
	method, target := http.MethodGet, c.url+"/accounts/"+account
	if add != 0 {
		method, target = http.MethodPost, target+"?add="+strconv.FormatInt(add, 10)+extra
	}
	o.call = time.Since(c.began)
	c.ask(ctx, method, target, &o)
	o.ret = time.Since(c.began)
	c.mu.Lock()
	c.ops = append(c.ops, o)
	c.mu.Unlock()
	return o
}

func (c *clients) ask(ctx context.Context, method, target string, o *operation) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(nil))
	if err != nil {
		o.why = err.Error()
		return
	}
	req.Header.Set("Op-Id", o.id)
	resp, err := c.http.Do(req)
	if err != nil {
		o.why = err.Error()
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		o.why = err.Error()
		return
	}
	o.status, o.owner = resp.StatusCode, resp.Header.Get("X-Owner")
	var doc struct {
		Balance, Token int64
		Writer         string
	}
	if o.status != http.StatusOK || json.Unmarshal(text, &doc) != nil {
		o.why = string(bytes.TrimSpace(text))
		return
	}
	o.known, o.balance, o.token, o.writer = true, doc.Balance, doc.Token, doc.Writer
}

// work has as many clients as there are accounts, and one more for each that looks, at work until they are told to stop.
func (c *clients) work(m *check.M, act func(*check.M)) {
	parts := []func(*check.M){}
	for i, name := range c.names {
		// Two write to the first account, so that one is not alone with what it knows.
		other := c.names[0]
		parts = append(parts,
			func(m *check.M) {
				c.loop(m, func(k int) { c.do(m.Context(), pick(k%4 == 3, other, name), int64(1+(k+i)%9), "") })
			},
			func(m *check.M) { c.loop(m, func(int) { c.do(m.Context(), name, 0, "") }) })
	}
	parts = append(parts, func(m *check.M) {
		defer c.stop.Store(true)
		act(m)
	})
	m.Together(parts...)
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// loop asks again and again, some 25 times a second: the measured thing is an order, not a rate.
func (c *clients) loop(m *check.M, do func(k int)) {
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for k := 0; !c.stop.Load() && m.Context().Err() == nil; k++ {
		do(k)
		select {
		case <-tick.C:
		case <-m.Context().Done():
		}
	}
}

// more waits until so many more operations have ended.
func (c *clients) more(m *check.M, n int) {
	n += len(c.all())
	m.Await(patience, "some requests", func(*check.M) error {
		if have := len(c.all()); have < n {
			return fmt.Errorf("%d of %d", have, n)
		}
		return nil
	})
}

// all are the operations so far.
func (c *clients) all() []operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]operation(nil), c.ops...)
}

// judge looks at the ledger's history and at what the clients have seen. What a client does not know of its operation the history
// knows: it has its ID.
func (c *clients) judge(m *check.M, ways *check.Ways) (ok int) {
	all := since(m, c.after)
	alone(ways.Way("one writer a token, none older"), all)
	done := map[string]int{}
	for _, e := range all {
		if e.Op == "write" && e.Verdict == accepted && e.ID != "" {
			done[e.ID]++
		}
	}
	// By now everything is over: what was done is in the history, and what is there was done before now.
	now := time.Since(c.began)
	var history []porcupine.Operation
	for i, o := range c.all() {
		switch {
		case o.known:
			ok++
			if o.add != 0 {
				ways.Way("each once").Note(done[o.id] == 1, "%s was answered, and done %d times", o.id, done[o.id])
			}
		case o.add == 0 || done[o.id] == 0:
			continue // it was not done
		default:
			ways.Way("not answered, and done once").Note(o.unclear() && done[o.id] == 1, "%s: %d, and done %d times",
				o.id, o.status, done[o.id])
			o.ret = now
		}
		history = append(history, porcupine.Operation{ClientId: i, Input: o, Output: o, Call: int64(o.call), Return: int64(o.ret)})
	}
	for _, name := range c.names {
		var b struct{ Balance int64 }
		m.JSON(ledger, httpPort, "/accounts/"+name, &b)
		end := operation{account: name, known: true, balance: b.Balance}
		call := int64(max(time.Since(c.began), now+1))
		history = append(history, porcupine.Operation{Input: end, Output: end, Call: call, Return: call + 1})
	}
	linearizable(m, ways, history)
	return ok
}

// linearizable notes whether the operations can have been done one after the other, each between its call and its answer.
func linearizable(m *check.M, ways *check.Ways, history []porcupine.Operation) {
	switch porcupine.CheckOperationsTimeout(accounts, history, 20*time.Second) {
	case porcupine.Unknown:
		m.Unknown("%d operations cannot be judged in 20 s", len(history))
	case porcupine.Ok:
		ways.Way("linearizable").Note(true, "")
	default:
		var bad []string
		for _, part := range accounts.Partition(history) {
			if !porcupine.CheckOperations(accounts, part) {
				bad = append(bad, part[0].Input.(operation).account)
			}
		}
		ways.Way("linearizable").Note(false, "no order of the operations explains what clients were told of %q", bad)
	}
}

// accounts is what an account is: a sum that one adds to, and looks at.
var accounts = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, o := range history {
			name := o.Input.(operation).account
			if _, there := at[name]; !there {
				at[name] = len(parts)
				parts = append(parts, nil)
			}
			parts[at[name]] = append(parts[at[name]], o)
		}
		return parts
	},
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		in, out := input.(operation), output.(operation)
		next := state.(int64) + in.add
		return !out.known || out.balance == next, next
	},
}
