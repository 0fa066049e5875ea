// Http-cache is a shared HTTP cache: it stands before origins, stores what they allow, and asks them once for what many
// want.
//
//	ORIGINS=http://app:8080 http-cache &
//	curl -i localhost:8080/   # Cache-Status: http-cache; fwd=uri-miss; fwd-status=200; stored; ttl=60
//	curl -i localhost:8080/   # Cache-Status: http-cache; hit; ttl=58
//
// Source: the serving layer of Brendan Burns, Designing Distributed Systems, chapter 5; the rules are RFC 9111, RFC
// 5861 (stale answers), RFC 9211 (Cache-Status) and RFC 9213 (CDN-Cache-Control); the habits are Varnish's.
package main

import (
	"context"
	"net"
	"os"

	"distlab/containers/internal/daemon"
)

const (
	name    = "http-cache"
	summary = "Http-cache is a shared HTTP cache: it stores what origins allow, and asks them once for what many want."
)

// Status is /status.
type Status struct {
	Name     string   `json:"name"`
	Origins  []Origin `json:"origins"`
	Size     int64    `json:"size"`   // bytes that may be stored
	Stored   uint64   `json:"stored"` // and that are
	Keys     int      `json:"keys"`
	InFlight int      `json:"in_flight"`
	Waiting  int      `json:"waiting"` // requests that wait for an origin, or for one that asks it
	Purge    bool     `json:"purge"`   // there is a token
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	asked := cfg.Size
	if cfg = cfg.fit(daemon.Available().Memory); cfg.Size != asked {
		p.Log.Info("cache lowered", "cache_size", int64(cfg.Size))
	}
	p.Fit(&cfg.MaxConnections, &cfg.MaxRequests, cfg.cost())
	cache := cfg.cache()
	cache.Log = p.Log
	cache.Metrics = NewMetrics(p.Metrics, cache.Store, func() int { return cache.Engine().InFlight() })
	cache.Engine()
	p.Status(func() any {
		keys, bytes := cache.Store.Stored()
		return Status{
			Name: cache.Name, Origins: cfg.Origins, Size: cache.Store.Size, Stored: bytes, Keys: keys,
			InFlight: cache.Engine().InFlight(), Waiting: cache.Waiting(), Purge: cache.Token != "",
		}
	})
	var config net.ListenConfig
	config.SetMultipathTCP(false) // on which a listener cannot be told to stop
	ln, err := config.Listen(ctx, "tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Log.Info("listening", "address", ln.Addr().String(), "cache_size", cache.Store.Size)
	p.Ready(true, "")
	return p.Serve(ctx, ln, cache)
}

func main() {
	os.Exit(daemon.Main(daemon.Program[config]{Name: name, Summary: summary, Run: run}, os.Args[1:]))
}
