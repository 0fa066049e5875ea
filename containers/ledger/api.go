package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"distlab/containers/internal/names"
)

// StoreAPI is the store over HTTP. Writers say who they are in headers: Fencing-Token, Writer, Session, Op-Id.
//
//	POST /sessions          a writer begins: {"session": 7, "accounts": {…}}; 409 for an old token
//	PUT  /accounts/NAME     {"balance": 12}; 409 for an old token or session
//	GET  /accounts/NAME     for people
//	GET  /history?after=N   entries, the oldest first
type StoreAPI struct {
	Store *Store
	Log   *slog.Logger
}

// Handler is the whole of it.
func (a *StoreAPI) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", well)
	mux.HandleFunc("POST /sessions", a.open)
	mux.HandleFunc("PUT /accounts/{name}", a.write)
	mux.HandleFunc("GET /accounts/{name}", a.look)
	mux.HandleFunc("GET /history", a.history)
	return mux
}

func well(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

// credentials are what a writer says of itself.
type credentials struct {
	token, session int64
	writer, id     string
}

func (c *credentials) read(r *http.Request, session bool) error {
	number := func(name string) (n int64, err error) {
		if n, err = strconv.ParseInt(r.Header.Get(name), 10, 64); err != nil || n <= 0 || len(r.Header.Values(name)) != 1 {
			return 0, fmt.Errorf("%w: the header %s is a number above 0, once", errBad, name)
		}
		return n, nil
	}
	var err error
	if c.token, err = number("Fencing-Token"); err != nil {
		return err
	}
	if session {
		if c.session, err = number("Session"); err != nil {
			return err
		}
	}
	c.writer, c.id = r.Header.Get("Writer"), r.Header.Get("Op-Id")
	if !names.Plain(c.writer) {
		return fmt.Errorf("%w: the header Writer is %s", errBad, names.What)
	}
	return checkID(c.id)
}

// checkID is for what a client calls its request: it is kept, and need not be there.
func checkID(id string) error {
	if id != "" && !names.Plain(id) {
		return fmt.Errorf("%w: the header Op-Id is a name, or not there", errBad)
	}
	return nil
}

func (a *StoreAPI) open(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if err := c.read(r, false); err != nil {
		a.fail(w, err)
		return
	}
	session, accounts, err := a.Store.Begin(c.token, c.writer, c.id)
	if err != nil {
		a.fail(w, err)
		return
	}
	a.Log.Info("session", "session", session, "writer", c.writer, "token", c.token)
	answer(w, http.StatusOK, opened{session, accounts})
}

// opened is the answer to who begins.
type opened struct {
	Session  int64            `json:"session"`
	Accounts map[string]int64 `json:"accounts"`
}

type balance struct {
	Account string `json:"account"`
	Balance int64  `json:"balance"`
	Token   int64  `json:"token,omitempty"`
	Writer  string `json:"writer,omitempty"`
}

// largestBody bounds what a writer sends.
const largestBody = 4 << 10

func (a *StoreAPI) write(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if err := c.read(r, true); err != nil {
		a.fail(w, err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBody))
	if err != nil {
		a.fail(w, fmt.Errorf("%w: %w", errBad, err))
		return
	}
	var doc struct {
		Balance *int64 `json:"balance"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.Balance == nil {
		a.fail(w, fmt.Errorf(`%w: the body is {"balance": 12}`, errBad))
		return
	}
	account := r.PathValue("name")
	if err := a.Store.Write(c.token, c.session, c.writer, account, *doc.Balance, c.id); err != nil {
		a.fail(w, err)
		return
	}
	answer(w, http.StatusOK, balance{account, *doc.Balance, c.token, c.writer})
}

func (a *StoreAPI) look(w http.ResponseWriter, r *http.Request) {
	account := r.PathValue("name")
	b, token, there := a.Store.Balance(account)
	if !there {
		answer(w, http.StatusNotFound, map[string]string{"error": "there is no such account"})
		return
	}
	answer(w, http.StatusOK, balance{Account: account, Balance: b, Token: token})
}

func (a *StoreAPI) history(w http.ResponseWriter, r *http.Request) {
	after := int64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			a.fail(w, fmt.Errorf("%w: after is the number of an entry", errBad))
			return
		}
	}
	part, newest := a.Store.After(after)
	answer(w, http.StatusOK, map[string]any{"entries": part, "newest": newest})
}

func (a *StoreAPI) fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, errBad):
		code = http.StatusBadRequest
	case errors.Is(err, errFenced), errors.Is(err, errStale):
		code = http.StatusConflict
	case errors.Is(err, errFull):
		code = http.StatusInsufficientStorage
	default:
		a.Log.Error("not kept", "error", err)
	}
	answer(w, code, map[string]string{"error": err.Error()})
}

func answer(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}
