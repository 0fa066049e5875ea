package main

import (
	"slices"
	"sync"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/shard-ambassador/pool"
	"distlab/containers/shard-ambassador/proxy"
)

// ambassador is the running program: its pools, and how they were loaded last.
type ambassador struct {
	cfg     config
	process *daemon.Process
	server  *proxy.Server

	mu    sync.Mutex
	pools []pool.Pool
	load  loadStatus
}

// loadStatus is /status' word on the pools' source.
type loadStatus struct {
	At      time.Time          `json:"at"`
	Error   string             `json:"error,omitempty"` // why the newest was refused; the one before is in use
	Moved   map[string]float64 `json:"moved_share,omitempty"`
	Reloads int                `json:"reloads"`
}

func (a *ambassador) loaded(pools []pool.Pool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pools = pools
	a.load.At = time.Now()
	a.load.Error = ""
}

// reload reads the pools again and puts them in the place of the old. Bad ones
// change nothing.
func (a *ambassador) reload() {
	pools, err := a.cfg.Pools()
	moved := map[string]float64{}
	if err == nil {
		a.mu.Lock()
		old := a.pools
		a.mu.Unlock()
		for _, p := range pools {
			i := slices.IndexFunc(old, func(o pool.Pool) bool { return o.Name == p.Name })
			if i < 0 {
				continue
			}
			share, shareErr := movedShare(old[i], p)
			if shareErr != nil {
				err = shareErr
				break
			}
			moved[p.Name] = share
			a.process.Log.Info("reloading", "pool", p.Name, "servers", len(p.Servers), "moved_share", share)
		}
	}
	if err == nil {
		err = a.server.Reload(pools)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.load.Error = err.Error()
		a.process.Log.Error("reload refused", "error", err)
		return
	}
	a.pools = pools
	a.load = loadStatus{At: time.Now(), Moved: moved, Reloads: a.load.Reloads + 1}
	a.process.Log.Info("reloaded", "pools", len(pools))
}

// poolStatus has twemproxy's names for what twemproxy counts.
type poolStatus struct {
	Listen            string                  `json:"listen"`
	ClientEOF         uint64                  `json:"client_eof"`
	ClientErr         uint64                  `json:"client_err"`
	ClientConnections int                     `json:"client_connections"`
	ServerEjects      uint64                  `json:"server_ejects"`
	ForwardError      uint64                  `json:"forward_error"`
	Fragments         uint64                  `json:"fragments"`
	Servers           map[string]serverStatus `json:"servers"`
}

type serverStatus struct {
	Address           string `json:"address"`
	State             string `json:"state"` // up or ejected
	LastError         string `json:"last_error,omitempty"`
	ServerEOF         uint64 `json:"server_eof"`
	ServerErr         uint64 `json:"server_err"`
	ServerTimedOut    uint64 `json:"server_timedout"`
	ServerConnections int    `json:"server_connections"`
	ServerEjectedAt   int64  `json:"server_ejected_at"` // µs since 1970, as in twemproxy; 0: never, or back
	Requests          uint64 `json:"requests"`
	RequestBytes      uint64 `json:"request_bytes"`
	Responses         uint64 `json:"responses"`
	ResponseBytes     uint64 `json:"response_bytes"`
	InQueue           int    `json:"in_queue"`
	InQueueBytes      int    `json:"in_queue_bytes"`
	OutQueue          int    `json:"out_queue"`
}

// status is what /status shows.
func (a *ambassador) status() any {
	pools := map[string]poolStatus{}
	for _, p := range a.server.Snapshot() {
		ps := poolStatus{
			Listen: p.Addr, ClientEOF: p.ClientEOFs, ClientErr: p.ClientErrors,
			ClientConnections: p.Clients, Fragments: p.Fragments, Servers: map[string]serverStatus{},
		}
		for _, s := range p.Shards {
			ps.ServerEjects += s.Ejections
			for _, n := range s.Errors {
				ps.ForwardError += n
			}
			ss := serverStatus{
				Address: s.Server.Addr.String(), State: "up", LastError: s.LastError,
				ServerEOF: s.Errors[proxy.ErrClosed], ServerTimedOut: s.Errors[proxy.ErrTimeout],
				ServerErr:         s.Errors[proxy.ErrBroken] + s.Errors[proxy.ErrConnect] + s.Errors[proxy.ErrProtocol],
				ServerConnections: s.Connections,
				Requests:          s.Requests, RequestBytes: s.RequestBytes, Responses: s.Responses, ResponseBytes: s.ResponseBytes,
				InQueue: s.InQueue, InQueueBytes: s.InQueueBytes, OutQueue: s.InFlight - s.InQueue,
			}
			if s.Ejected {
				ss.State = "ejected"
				ss.ServerEjectedAt = s.EjectedAt.UnixMicro()
			}
			ps.Servers[s.Server.Name] = ss
		}
		pools[p.Config.Name] = ps
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return struct {
		Pools map[string]poolStatus `json:"pools"`
		Load  loadStatus            `json:"load"`
	}{pools, a.load}
}
