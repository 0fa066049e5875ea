package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Admin is what the splitter adds to the admin port: /why, open as /status is,
// and what changes something, for the token's holder alone.
type Admin struct {
	Splitter *Splitter
	Live     *Live
	Ramps    *Ramps
	Compare  *Compare        // nil: nothing is compared
	Context  context.Context // of what is started
	Token    string          // "": nothing can be changed
}

// Register adds the endpoints, by daemon.Process.Handle.
func (a *Admin) Register(handle func(pattern string, h http.Handler)) {
	handle("GET /why", http.HandlerFunc(a.why))
	handle("GET /weights", http.HandlerFunc(a.weights))
	handle("GET /differences", http.HandlerFunc(a.differences))
	handle("PUT /weights", a.guarded(a.setWeights))
	handle("GET /ramp", http.HandlerFunc(a.ramp))
	handle("POST /ramp", a.guarded(a.startRamp))
	handle("DELETE /ramp", a.guarded(a.stopRamp))
}

// guarded wants `Authorization: Bearer TOKEN`.
func (a *Admin) guarded(f func(http.ResponseWriter, *http.Request)) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + a.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.Token == "" {
			http.Error(w, "set ADMIN_TOKEN to allow changes", http.StatusForbidden)
			return
		}
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "not the token", http.StatusUnauthorized)
			return
		}
		f(w, r)
	})
}

func (a *Admin) why(w http.ResponseWriter, r *http.Request) {
	f, err := whyFacts(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, a.Splitter.Why(f))
}

func (a *Admin) differences(w http.ResponseWriter, _ *http.Request) {
	if a.Compare == nil {
		http.Error(w, "set COMPARE to compare the mirror's answers", http.StatusNotFound)
		return
	}
	writeJSON(w, a.Compare.Differences())
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	e.Encode(v)
}

// readJSON is false if it has answered.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		http.Error(w, "the body is not as wanted: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func (a *Admin) weights(w http.ResponseWriter, _ *http.Request) {
	weights := map[string]int{}
	for _, s := range a.Splitter.Specs() {
		weights[s.Name] = s.Weight
	}
	writeJSON(w, weights)
}

// setWeights takes {"production": 5, "experiment": 5}; arms that are not
// named keep theirs.
func (a *Admin) setWeights(w http.ResponseWriter, r *http.Request) {
	var weights map[string]int
	if !readJSON(w, r, &weights) {
		return
	}
	err := a.Live.Change("admin", func(arms []ArmSpec) ([]ArmSpec, error) { return withWeights(arms, weights) })
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.weights(w, r)
}

func withWeights(arms []ArmSpec, weights map[string]int) ([]ArmSpec, error) {
	named := 0
	for i := range arms {
		weight, ok := weights[arms[i].Name]
		if !ok {
			continue
		}
		named++
		if err := arms[i].parameter(fmt.Sprintf("weight=%d", weight)); err != nil {
			return nil, err
		}
	}
	if named == len(weights) {
		return arms, nil
	}
	var names []string
	for _, a := range arms {
		names = append(names, a.Name)
	}
	return nil, errors.New("the arms are " + strings.Join(names, ", "))
}
