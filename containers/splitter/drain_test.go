package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestDrain(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	a := startArm(t, "a", func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		fmt.Fprint(w, "done")
	})
	s := start(t, []ArmSpec{a.spec("")}, nil)
	got := make(chan reply, 1)
	c := client(t)
	go func() {
		resp, err := c.Get(s.url("/"))
		if err != nil {
			got <- reply{body: err.Error()}
			return
		}
		defer resp.Body.Close()
		got <- reply{code: resp.StatusCode, body: string(must(io.ReadAll(resp.Body)))}
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(within(t)) }()
	eventually(t, "the port is closed", func() bool {
		c, err := net.DialTimeout("tcp", s.addr, 100*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request in flight: %v", err)
	default:
	}
	close(goOn)
	if r := <-got; r.code != 200 || r.body != "done" {
		t.Errorf("the request in flight: %+v", r)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := <-s.served; err != http.ErrServerClosed {
		t.Error(err)
	}
}

// Whoever got a connection before the end is answered on it.
func TestDrainUnderLoad(t *testing.T) {
	a := startArm(t, "a", nil)
	s := start(t, []ArmSpec{a.spec("")}, func(p *Proxy) { p.Limits.DrainIdle = time.Second })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				c, err := net.DialTimeout("tcp", s.addr, patience)
				if err != nil {
					return // refused: the port is closed
				}
				c.SetDeadline(time.Now().Add(patience))
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				answer, err := io.ReadAll(c)
				c.Close()
				if err != nil || statusesOf(string(answer)) != "200" {
					t.Errorf("%q %v", answer, err)
					return
				}
			}
		})
	}
	eventually(t, "requests", func() bool { return a.seen.Load() > 50 })
	check(t, s.Shutdown(within(t)))
	wg.Wait()
}
