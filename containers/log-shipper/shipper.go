package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"distlab/containers/internal/follow"
)

// Shipper carries lines from files to a store. One goroutine reads, keeps the batches and writes the checkpoint; another
// sends. Nothing else is shared but the status.
type Shipper struct {
	Follower   *follow.Follower
	Sender     *Sender
	Checkpoint follow.Checkpoint

	Poll      time.Duration // between looks at the files
	BatchWait time.Duration // a batch leaves at the latest so long after its first line
	Buffer    int64         // bytes in memory; 0: any
	Save      time.Duration // least time between checkpoints

	Log     *slog.Logger
	Metrics *metrics
	Ready   func(bool, string)

	filling  *follow.Batch
	queue    []*follow.Batch // the first is with the sender, if sending
	sending  bool
	buffered int64
	dirty    bool // what the checkpoint has is old
	saved    time.Time
	saveErr  string

	mu     sync.Mutex
	status Status
}

// Status is what /status shows.
type Status struct {
	Files      []follow.State `json:"files"`
	Buffered   int64          `json:"buffered_bytes"`
	Batches    int            `json:"batches"`
	Unread     int64          `json:"unread_bytes"`
	Waiting    int64          `json:"waiting_bytes"`
	Held       int64          `json:"held_bytes"`
	Scans      int64          `json:"scans"`
	Saved      time.Time      `json:"checkpoint_saved"`
	SaveError  string         `json:"checkpoint_error,omitempty"`
	Checkpoint string         `json:"checkpoint"`
}

// Status may be called from any goroutine.
func (s *Shipper) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Run ships until ctx is done. Then it reads once more, and sends what it has until drain is done; what is left stays in
// the files.
func (s *Shipper) Run(ctx context.Context, drain func() context.Context) error {
	entries, looked, found, err := s.Checkpoint.Load()
	if err != nil {
		return err
	}
	if found {
		s.Follower.Restore(entries, looked)
	}
	defer s.Follower.Close()
	s.filling = s.Follower.New()

	// The sender goes on during the drain, and ends with it.
	sending, stop := context.WithCancel(context.Background())
	defer stop()
	work, done := make(chan *follow.Batch), make(chan *follow.Batch)
	var ended sync.WaitGroup
	ended.Go(func() { s.send(sending, work, done) })
	defer ended.Wait()
	defer close(work)
	defer stop()

	s.scan()
	if err := s.keep(true); err != nil {
		return err // that it cannot be written at the start is a mistake, later it may be a full disk
	}
	s.Ready(true, "")
	end := ctx.Done()
	var drained <-chan struct{}
	next := time.Now().Add(s.Poll)
	for {
		now := time.Now()
		if drained == nil && (!now.Before(next) || s.Follower.Stale()) {
			s.scan()
			next = now.Add(s.Poll)
		}
		busy := drained == nil && s.read()
		s.flush(drained != nil)
		s.keep(false)
		if drained != nil && len(s.queue) == 0 {
			return s.stop()
		}
		out := work
		var first *follow.Batch
		if len(s.queue) == 0 || s.sending {
			out = nil
		} else {
			first = s.queue[0]
		}
		wait := time.Duration(0)
		if !busy {
			wait = s.due()
			if drained == nil {
				wait = min(wait, time.Until(next))
			}
		}
		timer := time.NewTimer(max(0, wait))
		select {
		case out <- first:
			s.sending = true
		case b := <-done:
			s.acknowledge(b)
		case <-end:
			end = nil
			s.scan()
			for s.read() {
				s.flush(false)
			}
			drained = drain().Done()
		case <-drained:
			timer.Stop()
			return s.stop()
		case <-timer.C:
		}
		timer.Stop()
	}
}

// send is the sender's goroutine.
func (s *Shipper) send(ctx context.Context, work <-chan *follow.Batch, done chan<- *follow.Batch) {
	defer s.Sender.Output.Close()
	for b := range work {
		if err := s.Sender.Send(ctx, b.Records); err != nil {
			return // the program ends: the batch was not acknowledged
		}
		select {
		case done <- b:
		case <-ctx.Done():
			return
		}
	}
}

// scan looks at the names.
func (s *Shipper) scan() {
	s.Follower.Scan()
	s.observe()
}

// read fills the batch while there is room, and is false when nothing is there.
func (s *Shipper) read() bool {
	if s.Buffer > 0 && s.buffered+s.filling.Bytes >= s.Buffer {
		return false
	}
	lines, bytes := len(s.filling.Records), s.filling.Bytes
	if lines == 0 {
		s.filling.Made = time.Now()
	}
	some := s.Follower.Read(s.filling)
	s.Metrics.readLines.Add(float64(len(s.filling.Records) - lines))
	s.Metrics.readBytes.Add(float64(s.filling.Bytes - bytes))
	return some
}

// flush queues the batch when it is full, or old; but not before the checkpoint has what its lines are of.
func (s *Shipper) flush(now bool) {
	if s.filling.Empty() || !now && s.filling.Bytes < s.Follower.BatchSize && time.Since(s.filling.Made) < s.BatchWait {
		return
	}
	if s.Follower.Unsaved() && s.keep(true) != nil {
		return
	}
	s.buffered += s.filling.Bytes
	s.queue = append(s.queue, s.filling)
	s.filling = s.Follower.New()
	s.skip()
}

// skip acknowledges batches without lines, which only say what was left out, when their turn comes.
func (s *Shipper) skip() {
	for !s.sending && len(s.queue) > 0 && len(s.queue[0].Records) == 0 {
		s.settle()
	}
}

// due is how long until the batch must leave, or a checkpoint is written.
func (s *Shipper) due() time.Duration {
	d := time.Hour
	if !s.filling.Empty() {
		d = s.BatchWait - time.Since(s.filling.Made)
	}
	if s.dirty {
		d = min(d, s.Save-time.Since(s.saved))
	}
	return d
}

func (s *Shipper) acknowledge(b *follow.Batch) {
	s.sending = false
	for _, r := range b.Records {
		s.Metrics.ackedBytes.Add(float64(r.End - r.Offset))
	}
	s.Metrics.ackedLines.Add(float64(len(b.Records)))
	s.settle()
	s.skip()
}

// settle takes the first batch off the queue.
func (s *Shipper) settle() {
	b := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.buffered -= b.Bytes
	s.Follower.Ack(b)
	s.dirty = true
}

// keep writes the checkpoint, if something changed and it is time.
func (s *Shipper) keep(now bool) error {
	if !now && (!s.dirty || time.Since(s.saved) < s.Save) {
		return nil
	}
	s.saved = time.Now()
	err := s.Checkpoint.Save(s.Follower.Entries(), s.Follower.Looked())
	if err != nil {
		s.Metrics.saveErrors.Inc()
		s.dirty = true
		if s.saveErr == "" {
			s.Log.Error("checkpoint not written: a restart would repeat lines", "error", err)
		}
		s.saveErr = err.Error()
		return err
	}
	if s.saveErr != "" {
		s.Log.Info("checkpoint written again")
	}
	s.Metrics.saves.Inc()
	s.dirty, s.saveErr = false, ""
	s.Follower.Saved()
	return nil
}

// observe tells what there is, once a scan.
func (s *Shipper) observe() {
	t := s.Follower.Totals()
	m := s.Metrics
	m.files.Set(float64(t.Open))
	m.unread.Set(float64(t.Unread))
	m.waiting.Set(float64(t.Waiting))
	m.held.Set(float64(t.Held))
	m.buffered.Set(float64(s.buffered + s.filling.Bytes))
	m.at.SetToCurrentTime()
	age := 0.0
	if len(s.queue) > 0 {
		age = time.Since(s.queue[0].Made).Seconds()
	}
	m.age.Set(age)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = Status{
		Files: s.Follower.States(), Buffered: s.buffered + s.filling.Bytes, Batches: len(s.queue),
		Unread: t.Unread, Waiting: t.Waiting, Held: t.Held, Scans: s.status.Scans + 1,
		Saved: s.saved, SaveError: s.saveErr, Checkpoint: s.Checkpoint.Path,
	}
}

// stop keeps what was acknowledged to the last. What was not is no loss: it is in the files.
func (s *Shipper) stop() error {
	left := 0
	for _, b := range s.queue {
		left += len(b.Records)
	}
	if left > 0 {
		s.Log.Warn("lines not sent: they stay in their files", "lines", left)
	}
	return s.keep(true)
}
