package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newStore(t *testing.T, path string) *Store {
	t.Helper()
	s := &Store{Fencing: true, Path: path, Most: 100, MaxAccounts: 3}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func begin(t *testing.T, s *Store, token int64, writer string) int64 {
	t.Helper()
	session, _, err := s.Begin(token, writer, "")
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// TestFencing: each row is asked after those before.
func TestFencing(t *testing.T) {
	s := newStore(t, "")
	old := begin(t, s, 7, "a")
	if err := s.Write(7, old, "a", "rent", 5, "x"); err != nil {
		t.Fatal(err)
	}
	// Another one begins, and has written nothing: what the first has on the way is too late already.
	young := begin(t, s, 9, "b")
	if err := s.Write(7, old, "a", "rent", 6, ""); !errors.Is(err, errFenced) {
		t.Errorf("an old token: %v", err)
	}
	if _, _, err := s.Begin(7, "a", ""); !errors.Is(err, errFenced) {
		t.Errorf("an old one begins: %v", err)
	}
	if err := s.Write(9, old, "b", "rent", 6, ""); !errors.Is(err, errStale) {
		t.Errorf("an old session: %v", err)
	}
	if err := s.Write(10, young, "c", "rent", 6, ""); !errors.Is(err, errStale) {
		t.Errorf("a token that has not begun: %v", err)
	}
	// The same owner begins anew: its own late writes are too late.
	again := begin(t, s, 9, "b")
	if err := s.Write(9, young, "b", "rent", 6, ""); !errors.Is(err, errStale) {
		t.Errorf("its earlier session: %v", err)
	}
	if err := s.Write(9, again, "b", "rent", 8, "y"); err != nil {
		t.Error(err)
	}
	if b, token, _ := s.Balance("rent"); b != 8 || token != 9 {
		t.Errorf("%d with token %d", b, token)
	}
	all, newest := s.After(0)
	var verdicts []string
	for _, e := range all {
		verdicts = append(verdicts, e.Op+" "+e.Verdict)
	}
	want := "open accepted, write accepted, open accepted, write fenced, open fenced, write stale, write stale, open accepted, write stale, write accepted"
	if got := strings.Join(verdicts, ", "); got != want || newest != 10 {
		t.Errorf("%d: %s", newest, got)
	}
	if part, _ := s.After(8); len(part) != 2 || part[1].ID != "y" {
		t.Errorf("%+v", part)
	}
}

func TestBelieves(t *testing.T) {
	s := newStore(t, "")
	s.Fencing = false
	begin(t, s, 9, "b")
	if err := s.Write(7, 1, "a", "rent", 6, ""); err != nil {
		t.Error(err)
	}
	if b, token, _ := s.Balance("rent"); b != 6 || token != 9 {
		t.Errorf("%d with token %d", b, token)
	}
}

func TestBounds(t *testing.T) {
	s := newStore(t, "")
	n := begin(t, s, 1, "a")
	for i := range 3 {
		if err := s.Write(1, n, "a", fmt.Sprint("x", i), 1, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(1, n, "a", "y", 1, ""); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := s.Write(1, n, "a", "x/y", 1, ""); !errors.Is(err, errBad) {
		t.Error(err)
	}
	for range 1000 {
		s.Write(1, n, "a", "x0", 1, "")
	}
	if got := len(s.history); got < 100 || got > 125 {
		t.Errorf("%d entries are kept", got)
	}
	if part, newest := s.After(newestOf(s) - 1); len(part) != 1 || part[0].Seq != newest {
		t.Errorf("%+v of %d", part, newest)
	}
}

func newestOf(s *Store) int64 { return s.Status().Seq }

// TestJournal: what was answered is there after a crash, and a half line was not.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	s := newStore(t, path)
	n := begin(t, s, 7, "a")
	if err := s.Write(7, n, "a", "rent", 5, ""); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(text) + 1 {
		other := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(other, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		again := newStore(t, other)
		whole := strings.Count(string(text[:cut]), "\n")
		if got := int(again.Status().Seq); got != whole {
			t.Fatalf("cut at %d: %d entries, want %d", cut, got, whole)
		}
		if whole < 2 {
			continue
		}
		if b, token, _ := again.Balance("rent"); b != 5 || token != 7 {
			t.Errorf("%d with token %d", b, token)
		}
		if _, _, err := again.Begin(6, "b", ""); !errors.Is(err, errFenced) {
			t.Errorf("an old token after a crash: %v", err)
		}
	}
	for _, bad := range []string{"x\n", "{}\n", string(text) + string(text), strings.Repeat("x", 2*longestLine) + "\n"} {
		other := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(other, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (&Store{Path: other, Most: 100, MaxAccounts: 3}).Open(); err == nil {
			t.Errorf("%.40q is a journal", bad)
		}
	}
	// Once it cannot be written nothing is accepted.
	s.file.Close()
	if err := s.Write(7, n, "a", "rent", 6, ""); err == nil {
		t.Error("it was accepted")
	}
	if b, _, _ := s.Balance("rent"); b != 5 {
		t.Error(b)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"seq":1,"time":"2026-07-01T00:00:00Z","op":"open","verdict":"accepted","token":7,"session":1,"writer":"a"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &Store{Most: 100, MaxAccounts: 3, accounts: map[string]int64{}, counts: map[string]int{}}
		good, err := s.replay(strings.NewReader(string(text)))
		if good > int64(len(text)) || err == nil && good > 0 && text[good-1] != '\n' {
			t.Errorf("good to %d of %d, %v", good, len(text), err)
		}
	})
}

func serveStore(t *testing.T, s *Store) string {
	srv := httptest.NewServer((&StoreAPI{Store: s, Log: quiet()}).Handler())
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestStoreRequests: what a writer may say of itself.
func TestStoreRequests(t *testing.T) {
	url := serveStore(t, newStore(t, ""))
	for _, tt := range []struct {
		method, path, body string
		head               []string
		want               int
	}{
		{"GET", "/healthz", "", nil, 200},
		{"POST", "/sessions", "", []string{"Fencing-Token: 3", "Writer: a"}, 200},
		{"POST", "/sessions", "", []string{"Writer: a"}, 400},
		{"POST", "/sessions", "", []string{"Fencing-Token: -1", "Writer: a"}, 400},
		{"POST", "/sessions", "", []string{"Fencing-Token: 99999999999999999999", "Writer: a"}, 400},
		{"POST", "/sessions", "", []string{"Fencing-Token: 3", "Fencing-Token: 9", "Writer: a"}, 400},
		{"POST", "/sessions", "", []string{"Fencing-Token: 3", "Writer: a b"}, 400},
		{"POST", "/sessions", "", []string{"Fencing-Token: 2", "Writer: a"}, 409},
		{"PUT", "/accounts/rent", `{"balance":1}`, []string{"Fencing-Token: 3", "Writer: a", "Session: 1", "Op-Id: x"}, 200},
		{"PUT", "/accounts/rent", `{"balance":1}`, []string{"Fencing-Token: 3", "Writer: a"}, 400},
		{"PUT", "/accounts/rent", `{"balance":1}`, []string{"Fencing-Token: 3", "Writer: a", "Session: 1", "Op-Id: a\tb"}, 400},
		{"PUT", "/accounts/rent", `{}`, []string{"Fencing-Token: 3", "Writer: a", "Session: 1"}, 400},
		{"PUT", "/accounts/rent", `{"balance":1.5}`, []string{"Fencing-Token: 3", "Writer: a", "Session: 1"}, 400},
		{"PUT", "/accounts/rent", `{"balance":1}` + strings.Repeat(" ", 5000), []string{"Fencing-Token: 3", "Writer: a", "Session: 1"}, 400},
		{"PUT", "/accounts/rent", `{"balance":1}`, []string{"Fencing-Token: 2", "Writer: a", "Session: 1"}, 409},
		{"PUT", "/accounts/%2e%2e", `{"balance":1}`, []string{"Fencing-Token: 3", "Writer: a", "Session: 1"}, 400},
		{"GET", "/accounts/rent", "", nil, 200},
		{"GET", "/accounts/none", "", nil, 404},
		{"GET", "/history?after=x", "", nil, 400},
		{"GET", "/history?after=1", "", nil, 200},
		{"DELETE", "/accounts/rent", "", nil, 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, url+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range tt.head {
			name, value, _ := strings.Cut(line, ": ")
			req.Header.Add(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s %s %s %q: %d, want %d", tt.method, tt.path, tt.body, tt.head, resp.StatusCode, tt.want)
		}
	}
}

// elector says what it is told to: a token, or 0 for "not the owner".
type elector struct{ token atomic.Int64 }

func (e *elector) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	token := e.token.Load()
	if token == 0 {
		w.Header().Set("Owner-Address", "b:8080")
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	w.Header().Set("Fencing-Token", strconv.FormatInt(token, 10))
}

func newClerk(t *testing.T, id, store string) (url string, e *elector) {
	t.Helper()
	e = &elector{}
	own := httptest.NewServer(e)
	t.Cleanup(own.Close)
	c := &Clerk{
		ID: id, StoreURL: store, OwnerURL: own.URL, OwnerTimeout: 5 * time.Second, StoreTimeout: 300 * time.Millisecond, MaxThink: time.Minute,
		Client: &http.Client{Transport: &http.Transport{}}, Log: quiet(),
	}
	c.register(prometheus.NewRegistry())
	srv := httptest.NewServer(c.Handler())
	t.Cleanup(srv.Close)
	return srv.URL, e
}

func do(t *testing.T, method, url string) (int, balance, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, balance{}, nil
	}
	defer resp.Body.Close()
	var b balance
	json.NewDecoder(resp.Body).Decode(&b)
	return resp.StatusCode, b, resp.Header
}

func TestClerk(t *testing.T) {
	s := newStore(t, "")
	store := serveStore(t, s)
	a, ownA := newClerk(t, "a", store)
	b, ownB := newClerk(t, "b", store)
	code, _, head := do(t, "POST", a+"/accounts/rent?add=5")
	if code != 421 || head.Get("Owner-Address") != "b:8080" {
		t.Errorf("no owner: %d %v", code, head)
	}
	ownA.token.Store(7)
	if code, got, _ := do(t, "POST", a+"/accounts/rent?add=5"); code != 200 || got != (balance{"rent", 5, 7, "a"}) {
		t.Errorf("%d %+v", code, got)
	}
	if code, got, _ := do(t, "GET", a+"/accounts/rent"); code != 200 || got.Balance != 5 {
		t.Errorf("%d %+v", code, got)
	}
	if code, _, _ := do(t, "GET", a+"/accounts/none"); code != 404 {
		t.Error(code)
	}
	for _, bad := range []string{"/accounts/rent", "/accounts/rent?add=x", "/accounts/rent?add=1&think=2h", "/accounts/a%20b?add=1", "/accounts/rent?add=9223372036854775807"} {
		if code, _, _ := do(t, "POST", a+bad); code != 400 {
			t.Errorf("%s: %d", bad, code)
		}
	}
	// Another one is the owner, and the first does not know it yet. It may have looked just before.
	ownB.token.Store(9)
	if code, got, _ := do(t, "POST", b+"/accounts/rent?add=2"); code != 200 || got.Balance != 7 {
		t.Errorf("%d %+v", code, got)
	}
	if code, _, _ := do(t, "POST", a+"/accounts/rent?add=1"); code != 421 {
		t.Errorf("the store has a newer owner: %d", code)
	}
	if code, _, _ := do(t, "GET", a+"/accounts/rent"); code != 421 {
		t.Errorf("its books are closed: %d", code)
	}
	// Again the owner, it reads what was written meanwhile.
	ownA.token.Store(11)
	if code, got, _ := do(t, "POST", a+"/accounts/rent?add=1"); code != 200 || got != (balance{"rent", 8, 11, "a"}) {
		t.Errorf("%d %+v", code, got)
	}
}

// TestThinks: a new owner comes between the last look and the write.
func TestThinks(t *testing.T) {
	s := newStore(t, "")
	store := serveStore(t, s)
	a, ownA := newClerk(t, "a", store)
	b, ownB := newClerk(t, "b", store)
	ownA.token.Store(7)
	do(t, "POST", a+"/accounts/rent?add=1")
	var wg sync.WaitGroup
	wg.Go(func() {
		if code, _, _ := do(t, "POST", a+"/accounts/rent?add=100&think=300ms"); code != 421 {
			t.Errorf("the old owner's: %d", code)
		}
	})
	ownB.token.Store(9)
	if code, got, _ := do(t, "POST", b+"/accounts/rent?add=2"); code != 200 || got.Balance != 3 {
		t.Errorf("%d %+v", code, got)
	}
	wg.Wait()
	if got, _, _ := s.Balance("rent"); got != 3 {
		t.Error(got)
	}
}

// TestUnclear: the store does not answer, and does the write later. The clerk says that it does not know, and goes on from what is so.
func TestUnclear(t *testing.T) {
	s := newStore(t, "")
	api := (&StoreAPI{Store: s, Log: quiet()}).Handler()
	hang := make(chan struct{})
	var slow atomic.Bool
	var late sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" && slow.CompareAndSwap(true, false) {
			body, _ := io.ReadAll(r.Body)
			again := r.Clone(t.Context())
			late.Add(1)
			go func() {
				defer late.Done()
				<-hang
				again.Body = io.NopCloser(strings.NewReader(string(body)))
				api.ServeHTTP(httptest.NewRecorder(), again)
			}()
			<-r.Context().Done()
			return
		}
		api.ServeHTTP(w, r)
	}))
	defer srv.Close()
	a, own := newClerk(t, "a", srv.URL)
	own.token.Store(7)
	do(t, "POST", a+"/accounts/rent?add=1")
	slow.Store(true)
	if code, _, _ := do(t, "POST", a+"/accounts/rent?add=100"); code != 502 {
		t.Errorf("%d", code)
	}
	if code, got, _ := do(t, "POST", a+"/accounts/rent?add=2"); code != 200 || got.Balance != 3 {
		t.Errorf("%d %+v", code, got)
	}
	close(hang) // it comes now, of an earlier session
	late.Wait()
	if got, _, _ := s.Balance("rent"); got != 3 {
		t.Error(got)
	}
}

// TestConcurrent: what many add is there.
func TestConcurrent(t *testing.T) {
	s := newStore(t, "")
	a, own := newClerk(t, "a", serveStore(t, s))
	own.token.Store(7)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if code, _, _ := do(t, "POST", a+"/accounts/rent?add=1"); code != 200 {
					t.Error(code)
				}
			}
		})
	}
	wg.Wait()
	if got, _, _ := s.Balance("rent"); got != 160 {
		t.Error(got)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		cfg  config
		want string
	}{
		{config{Role: "store"}, ""},
		{config{Role: "store", StoreURL: "http://x"}, "STORE_URL"},
		{config{Role: "clerk", OwnerURL: "http://x"}, "STORE_URL"},
		{config{Role: "clerk", OwnerURL: "x", StoreURL: "http://x"}, "OWNER_URL"},
		{config{Role: "clerk", OwnerURL: "http://x", StoreURL: "http://x", ID: "a b"}, "ID="},
		{config{Role: "clerk", OwnerURL: "http://x", StoreURL: "http://x", JournalPath: "/x"}, "JOURNAL_PATH"},
		{config{Role: "clerk", OwnerURL: "http://x", StoreURL: "http://x"}, ""},
	} {
		err := tt.cfg.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.cfg, err, tt.want)
		}
	}
}
