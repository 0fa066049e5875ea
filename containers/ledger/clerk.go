package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"distlab/containers/internal/names"
)

// Clerk is an app that must be alone: it has the balances in memory, and what it adds to is what it remembers. Two of them
// at a time would each overwrite what the other has added.
//
// It asks the elector beside it before each request. That makes its reads right: what it remembers was true when the
// elector said so. It does not make its writes right: between the last look and the write a process may be frozen for as long
// as somebody likes. That is what the token is for, and only the store can look at it in time.
type Clerk struct {
	ID, StoreURL, OwnerURL     string
	OwnerTimeout, StoreTimeout time.Duration
	MaxThink                   time.Duration
	Client                     *http.Client
	Log                        *slog.Logger

	counts clerkMetrics

	mu    sync.Mutex // held while the books are read
	books *books
}

// books are the balances of one session. Once a write is not known to have been done or not, nothing in them counts.
type books struct {
	token, session int64

	mu       sync.Mutex
	accounts map[string]*account
	closed   bool
}

type account struct {
	mu      sync.Mutex // one change at a time
	balance int64
	there   bool
}

func (b *books) account(name string) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[name]
	if a == nil {
		a = &account{}
		b.accounts[name] = a
	}
	return a
}

func (b *books) shut()        { b.mu.Lock(); b.closed = true; b.mu.Unlock() }
func (b *books) isShut() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.closed }

// refusal is a request that was not done, and why: with 421 another one may do it.
type refusal struct {
	code  int
	text  string
	owner string // where the owner is, if it is known
}

func (r *refusal) Error() string { return r.text }

func notOwner(text string) *refusal { return &refusal{code: http.StatusMisdirectedRequest, text: text} }

// Handler serves the owner's clients.
//
//	POST /accounts/NAME?add=5    the new balance; 421 if this one is not the owner, and nothing was done
//	GET  /accounts/NAME
func (c *Clerk) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", well)
	mux.HandleFunc("GET /accounts/{name}", c.serve(c.look))
	mux.HandleFunc("POST /accounts/{name}", c.serve(c.add))
	return mux
}

func (c *Clerk) serve(do func(r *http.Request, name string) (balance, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		var b balance
		err := checkID(r.Header.Get("Op-Id"))
		if err == nil && !names.Plain(name) {
			err = fmt.Errorf("%w: no account's name: %.80q", errBad, name)
		}
		if err == nil {
			b, err = do(r, name)
		}
		var no *refusal
		switch {
		case err == nil:
			answer(w, http.StatusOK, b)
		case errors.As(err, &no):
			if no.code == http.StatusMisdirectedRequest {
				c.counts.misdirected.Inc()
			}
			if no.owner != "" {
				w.Header().Set("Owner-Address", no.owner)
			}
			answer(w, no.code, map[string]string{"error": no.text})
		case errors.Is(err, errBad):
			answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		default:
			c.Log.Warn("it is not known whether a request was done", "error", err)
			answer(w, http.StatusBadGateway, map[string]string{"error": err.Error()})
		}
	}
}

func (c *Clerk) look(r *http.Request, name string) (balance, error) {
	b, err := c.current(r.Context())
	if err != nil {
		return balance{}, err
	}
	a := b.account(name)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case b.isShut():
		return balance{}, notOwner("the books were closed meanwhile")
	case !a.there:
		return balance{}, &refusal{code: http.StatusNotFound, text: "there is no such account"}
	}
	return balance{name, a.balance, b.token, c.ID}, nil
}

func (c *Clerk) add(r *http.Request, name string) (balance, error) {
	q := r.URL.Query()
	n, err := strconv.ParseInt(q.Get("add"), 10, 64)
	if err != nil {
		return balance{}, fmt.Errorf("%w: add=%.40q: not a number", errBad, q.Get("add"))
	}
	think := time.Duration(0)
	if text := q.Get("think"); text != "" {
		if think, err = time.ParseDuration(text); err != nil || think < 0 || think > c.MaxThink {
			return balance{}, fmt.Errorf("%w: think=%.40q: not a duration from 0s to %v", errBad, text, c.MaxThink)
		}
	}
	b, err := c.current(r.Context())
	if err != nil {
		return balance{}, err
	}
	a := b.account(name)
	a.mu.Lock()
	defer a.mu.Unlock()
	if b.isShut() { // by the one before, whose write is not known to have been done
		return balance{}, notOwner("the books were closed meanwhile")
	}
	next := a.balance + n
	if n > 0 && next < a.balance || n < 0 && next > a.balance || next == math.MinInt64 {
		return balance{}, fmt.Errorf("%w: add=%d: out of range", errBad, n)
	}
	if think > 0 {
		c.counts.thinking.Inc()
		time.Sleep(think) // whatever an app does between its last look and its write
		c.counts.thinking.Dec()
	}
	// The client may leave; what has begun is ended, so that the books say what is so.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), c.StoreTimeout)
	defer cancel()
	err = c.write(ctx, b, name, next, r.Header.Get("Op-Id"))
	var no *refusal
	switch {
	case err == nil:
		a.balance, a.there = next, true
		return balance{name, next, b.token, c.ID}, nil
	case errors.As(err, &no) && no.code != http.StatusMisdirectedRequest:
		return balance{}, err // the store's, and nothing has changed
	}
	b.shut()
	return balance{}, err
}

// current are the books of this moment's owner, if that is this one. They are read when it has become the owner, and
// anew when it is not known what is in the store.
func (c *Clerk) current(ctx context.Context) (*books, error) {
	token, err := c.owner(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.books != nil && c.books.token == token && !c.books.isShut() {
		return c.books, nil
	}
	if c.books != nil && token < c.books.token {
		return nil, notOwner("the elector has a newer owner") // it was asked before another request was
	}
	b, err := c.read(ctx, token)
	if err != nil {
		return nil, err
	}
	if c.books != nil {
		c.books.shut()
	}
	c.books = b
	c.counts.sessions.Inc()
	c.Log.Info("the books are read", "token", token, "session", b.session, "accounts", len(b.accounts))
	return b, nil
}

// owner asks the elector, and is the token if this one is the owner.
func (c *Clerk) owner(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.OwnerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.OwnerURL, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.Client.Do(req)
	if err != nil {
		return 0, notOwner("the elector does not answer")
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode != http.StatusOK {
		return 0, &refusal{
			code: http.StatusMisdirectedRequest, text: "this one is not the owner", owner: resp.Header.Get("Owner-Address"),
		}
	}
	token, err := strconv.ParseInt(resp.Header.Get("Fencing-Token"), 10, 64)
	if err != nil || token <= 0 {
		return 0, notOwner("the elector gives no token")
	}
	return token, nil
}

// read opens a session. Whatever goes wrong with it, no client's request was done.
func (c *Clerk) read(ctx context.Context, token int64) (*books, error) {
	ctx, cancel := context.WithTimeout(ctx, c.StoreTimeout)
	defer cancel()
	var doc opened
	if err := c.ask(ctx, http.MethodPost, "/sessions", token, 0, "", nil, &doc); err != nil {
		return nil, notOwner("the store: " + err.Error())
	}
	b := &books{token: token, session: doc.Session, accounts: map[string]*account{}}
	for name, n := range doc.Accounts {
		b.accounts[name] = &account{balance: n, there: true}
	}
	return b, nil
}

// write writes a balance through. A refusal is one: nothing was done. Any other error says nothing.
func (c *Clerk) write(ctx context.Context, b *books, name string, n int64, id string) error {
	body := fmt.Appendf(nil, `{"balance":%d}`, n)
	return c.ask(ctx, http.MethodPut, "/accounts/"+name, b.token, b.session, id, body, nil)
}

// largestAnswer bounds what the store says: all accounts.
const largestAnswer = 16 << 20

func (c *Clerk) ask(ctx context.Context, method, path string, token, session int64, id string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.StoreURL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.GetBody = nil // sent once: net/http would send it again on another connection
	req.Header.Set("Fencing-Token", strconv.FormatInt(token, 10))
	req.Header.Set("Writer", c.ID)
	if session > 0 {
		req.Header.Set("Session", strconv.FormatInt(session, 10))
	}
	if id != "" {
		req.Header.Set("Op-Id", id)
	}
	resp, err := c.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if into == nil {
			return nil
		}
		return json.Unmarshal(text, into)
	case http.StatusConflict:
		c.counts.fenced.Inc()
		c.Log.Warn("the store refuses a write of an old owner's", "token", token, "session", session)
		return notOwner("the store has a newer owner")
	case http.StatusBadRequest, http.StatusInsufficientStorage:
		return &refusal{code: resp.StatusCode, text: string(bytes.TrimSpace(text))}
	}
	return fmt.Errorf("%s: %.200q", resp.Status, text)
}

// ClerkStatus is the clerk's /status.
type ClerkStatus struct {
	ID       string `json:"id"`
	Token    int64  `json:"token"` // of its books; whether it is the owner says the elector
	Session  int64  `json:"session"`
	Accounts int    `json:"accounts"`
}

// Status is the state of this moment.
func (c *Clerk) Status() ClerkStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ClerkStatus{ID: c.ID}
	if b := c.books; b != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		s.Token, s.Session, s.Accounts = b.token, b.session, len(b.accounts)
	}
	return s
}
