package proxy

import (
	"math/bits"
	"time"
)

// ErrorKind is what a shard's failure is counted as.
type ErrorKind int

const (
	ErrConnect  ErrorKind = iota // no connection, or its login was refused
	ErrTimeout                   // no answer in time
	ErrClosed                    // the shard closed the connection under a request
	ErrBroken                    // the connection broke
	ErrProtocol                  // what it sent is no reply
	ErrReply                     // one of FAILURE_REPLIES
	ErrEjected                   // not tried: it is ejected
	ErrLocal                     // this machine has no more descriptors, memory or ports
	ErrClient                    // what a client wants the shard does not have: RESP3
	errorKinds
)

var errorNames = [errorKinds]string{"connect", "timeout", "closed", "broken", "protocol", "reply", "ejected", "local", "client"}

func (k ErrorKind) String() string { return errorNames[k] }

// ErrorKinds are all of them.
func ErrorKinds() (all []ErrorKind) {
	for k := range errorKinds {
		all = append(all, k)
	}
	return all
}

// ShardStats is what is counted of a shard, on one loop or on all.
type ShardStats struct {
	Requests, RequestBytes   uint64
	Responses, ResponseBytes uint64
	Errors                   [errorKinds]uint64
	Ejections                uint64
	EjectedAt                time.Time // zero: it is not ejected
	Connections              int
	InFlight                 int // requests without a reply, those that have not been sent included
	InQueue, InQueueBytes    int // requests that have not been sent
	Latency                  Histogram
}

// PoolStats is what is counted of a pool.
type PoolStats struct {
	Clients      int
	Accepted     uint64 // clients
	ClientEOFs   uint64 // clients that ended
	ClientErrors uint64
	Requests     uint64
	Refused      uint64 // answered with an error of the ambassador's own about the request
	Fragments    uint64
	SlowClients  uint64
	Rejected     uint64 // connections over the limit
	Foreign      uint64 // connections that spoke another protocol
}

// buckets of a histogram: bounds are powers of two, from 64 µs to 33 s.
const (
	firstBucket = 6 // 2^6 µs
	buckets     = 20
)

// Histogram counts durations.
type Histogram struct {
	Counts [buckets + 1]uint64 // the last is of those above all bounds
	Sum    time.Duration
}

func (h *Histogram) observe(d int64) {
	h.Sum += time.Duration(d)
	us := uint64(d) / 1000
	h.Counts[min(max(bits.Len64(us)-firstBucket, 0), buckets)]++
}

// Bound is a bucket's upper bound in seconds.
func Bound(i int) float64 { return float64(uint64(1)<<(i+firstBucket)) / 1e6 }

// add sums what several loops have counted.
func (s *ShardStats) add(o *ShardStats) {
	s.Requests += o.Requests
	s.RequestBytes += o.RequestBytes
	s.Responses += o.Responses
	s.ResponseBytes += o.ResponseBytes
	for k := range s.Errors {
		s.Errors[k] += o.Errors[k]
	}
	s.Ejections += o.Ejections
	if o.EjectedAt.After(s.EjectedAt) {
		s.EjectedAt = o.EjectedAt
	}
	s.Connections += o.Connections
	s.InFlight += o.InFlight
	s.InQueue += o.InQueue
	s.InQueueBytes += o.InQueueBytes
	for i := range s.Latency.Counts {
		s.Latency.Counts[i] += o.Latency.Counts[i]
	}
	s.Latency.Sum += o.Latency.Sum
}

func (s *PoolStats) add(o *PoolStats) {
	s.Clients += o.Clients
	s.Accepted += o.Accepted
	s.ClientEOFs += o.ClientEOFs
	s.ClientErrors += o.ClientErrors
	s.Requests += o.Requests
	s.Refused += o.Refused
	s.Fragments += o.Fragments
	s.SlowClients += o.SlowClients
	s.Rejected += o.Rejected
	s.Foreign += o.Foreign
}
