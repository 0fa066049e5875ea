package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFlight: it tells when all requests are in flight, and then waits for the answers.
func TestFlight(t *testing.T) {
	ca := newAuthority(t)
	for _, version := range []string{"-http1", "-http2"} {
		entered, release := make(chan struct{}, 100), make(chan struct{})
		s := ca.httpsServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			entered <- struct{}{}
			<-release
			fmt.Fprint(w, "whole")
		}), nil)
		p := start(t, "flight", "-n", "20", version, "-data-size", "100000", "-ca", ca.pem, s.URL)
		if diff := cmp.Diff(inFlight{"in-flight", 20}, decode[inFlight](t, p.line())); diff != "" {
			t.Errorf("%s: first line:\n%s", version, diff)
		}
		for range 20 {
			<-entered // all of them arrive, and none needs an answer for it
		}
		close(release)
		a := decode[loadAnswer](t, p.line())
		if a.Requests != 20 || a.OK != 20 || a.Lost != 0 || a.Status["200"] != 20 || a.Rate <= 0 {
			t.Errorf("%s: result: %+v", version, a)
		}
		if code := <-p.exited; code != 0 {
			t.Errorf("%s: exit code %d", version, code)
		}
	}
}

// TestFlightLost: requests that the server drops are lost.
func TestFlightLost(t *testing.T) {
	dropped := make(chan struct{})
	addr := serve(t, func(c net.Conn) { readRequest(c); <-dropped; reset(c) })
	p := start(t, "flight", "-n", "5", "http://"+addr)
	if got := decode[inFlight](t, p.line()); got.Count != 5 {
		t.Errorf("in flight: %+v", got)
	}
	close(dropped)
	a := decode[loadAnswer](t, p.line())
	if a.Lost != 5 || a.OK != 0 || a.Errors[closed] != 5 {
		t.Errorf("result: %+v", a)
	}
}

// TestFlightInterrupted: what is unanswered when the probe is told to end is lost, too: a claim that ends its flight
// early must not read a success from it.
func TestFlightInterrupted(t *testing.T) {
	addr := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	p := start(t, "flight", "-n", "3", "http://"+addr)
	p.line()
	p.stop()
	a := decode[loadAnswer](t, p.line())
	if a.Requests != 3 || a.Lost != 3 || a.Errors[otherKind] != 3 || !strings.Contains(a.First[0], errInterrupted.Error()) {
		t.Errorf("result: %+v", a)
	}
	if code := <-p.exited; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestFlightNever: no line says "in flight" when it never was so.
func TestFlightNever(t *testing.T) {
	for _, url := range []string{"http://" + closedPort(t), "http://nosuch.example"} {
		stdout, _, code := runProbe(t, "flight", "-n", "3", url)
		if code != 0 || strings.Contains(stdout, "in-flight") {
			t.Errorf("exit code %d: %s", code, stdout)
		}
		a := decode[loadAnswer](t, lastLine(stdout))
		if a.Requests != 3 || a.Lost != 0 || a.OK != 0 || len(a.First) != 3 {
			t.Errorf("%s: result: %+v", url, a)
		}
	}
	// One answered before the last was written is not "all in flight".
	f := &flight{n: 2, told: func() error { t.Error("told"); return nil }}
	f.wrote()
	f.ended++
	f.wrote()
}
