package main

import (
	"context"
	"time"
)

// Keeping says when to read the certificates again.
type Keeping struct {
	Reload <-chan struct{} // a value is a demand, SIGHUP
	Watch  bool            // the files too
	Every  time.Duration   // how often to look at them; 0 is one second
	Exit   func()          // instead of a reload, once good new content is there
}

// ticketLife is how long a session ticket key encrypts; it then decrypts for
// as long again.
const ticketLife = 12 * time.Hour

// Keep holds the certificates up to date until ctx is done.
func (c *Certificates) Keep(ctx context.Context, k Keeping) {
	if k.Watch {
		w := &Watch{
			Files: c.watched, Known: c.loaded, Interval: k.Every, Log: c.Log,
			Changed: func() { c.changed(k.Exit) },
		}
		go w.Run(ctx)
	}
	tickets := time.NewTicker(ticketLife)
	defer tickets.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.Reload:
			c.Reload("SIGHUP")
		case <-tickets.C:
			c.rotateTickets()
		}
	}
}

func (c *Certificates) changed(exit func()) {
	if exit == nil {
		c.Reload("change")
		return
	}
	// To exit for a bad pair would be to not come back.
	if changed, ok := c.examine(); !ok {
		c.Reload("change") // reports it
	} else if changed {
		c.log().Info("exiting", "reason", "certificates changed")
		exit()
	}
}

// examine is a reload that changes nothing.
func (c *Certificates) examine() (changed, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.now.Load()
	next, bad := c.read(old)
	return !next.same(old), len(bad) == 0
}

// watched lists every file that matters, and the directory that more may come
// to.
func (c *Certificates) watched() []string {
	var paths []string
	if c.Dir != "" {
		paths = append(paths, c.Dir)
	}
	files, _ := c.allFiles()
	for _, f := range files {
		paths = append(paths, f.Cert)
		if f.Key != "" {
			paths = append(paths, f.Key)
		}
	}
	if c.ClientCA != "" {
		paths = append(paths, c.ClientCA)
	}
	return paths
}

// Default is the serial of the certificate for clients that name none.
func (c *Certificates) Default() string { return c.now.Load().pairs[0].serial() }
