//go:build !linux

package reactor

import (
	"net"
	"net/netip"
	"time"
)

// poller is nothing: there is no loop.
type poller struct{}

// New returns ErrUnsupported.
func New() (*Loop, error) { return nil, ErrUnsupported }

// What follows is never reached: there is no loop without New.

func (l *Loop) Register(int, Handler) (*Source, error) { return nil, ErrUnsupported }
func (l *Loop) Run() error                             { return ErrUnsupported }
func (l *Loop) Post(func()) bool                       { return false }
func (l *Loop) Stop()                                  {}
func (l *Loop) Close()                                 {}

func (s *Source) Close()                    {}
func (s *Source) Release() int              { return -1 }
func (s *Source) Read([]byte) (int, error)  { return 0, ErrUnsupported }
func (s *Source) Write([]byte) (int, error) { return 0, ErrUnsupported }
func (s *Source) Error() error              { return ErrUnsupported }
func (s *Source) CloseWrite() error         { return ErrUnsupported }
func (s *Source) Accept() (int, error)      { return -1, ErrUnsupported }

func Listen(net.Listener, int) (int, error) { return -1, ErrUnsupported }
func DialTCP(netip.AddrPort) (int, error)   { return -1, ErrUnsupported }
func DialUnix(string) (int, error)          { return -1, ErrUnsupported }
func NoDelay(int)                           {}
func KeepAlive(int, time.Duration)          {}
func CloseFD(int)                           {}
func Detach(net.Conn) (int, error)          { return -1, ErrUnsupported }
func Attach(int) (net.Conn, error)          { return nil, ErrUnsupported }
