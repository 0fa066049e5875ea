package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is the instances of one service by a name. host:port is the addresses of a host; anything else is the name of an SRV
// record. Go's own resolver hides how long an answer holds, and orders it; so this asks for itself.
// Sources: RFC 1035, 2308 (no such name and no such record are answers), 2782 (SRV), 6891 (EDNS0).
type DNS struct {
	Service, Name string
	Server        string // host:port
	Min, Max      time.Duration
	Timeout       time.Duration

	next time.Time
}

// errServer says that a server has not answered the question: it may not know.
var errServer = errors.New("the DNS server cannot answer")

// Next asks again when the last answer does not hold any more, which is Min to Max after it.
func (d *DNS) Next(ctx context.Context) (Answer, error) {
	select {
	case <-time.After(time.Until(d.next)):
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
	a, ttl, err := d.ask(ctx)
	if err != nil {
		d.next = time.Time{} // who asks pauses after an error
		return Answer{}, err
	}
	d.next = time.Now().Add(min(max(ttl, d.Min), d.Max))
	a.Version = "answer that holds for " + ttl.String()
	return a, nil
}

func (d *DNS) ask(ctx context.Context) (Answer, time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.Timeout, fmt.Errorf("no answer within %v", d.Timeout))
	defer cancel()
	types, name, port := []dnsmessage.Type{dnsmessage.TypeSRV}, d.Name, ""
	if host, p, err := net.SplitHostPort(d.Name); err == nil {
		types, name, port = []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}, host, p
	}
	a, least := newAnswer(""), d.Max
	for _, t := range types {
		found, ttl, err := d.query(ctx, name, t, port)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return Answer{}, 0, fmt.Errorf("%s %s: %w", name, strings.TrimPrefix(t.String(), "Type"), err)
		}
		if len(found) > 0 {
			a.Instances[d.Service] = append(a.Instances[d.Service], found...)
			least = min(least, ttl)
		}
	}
	return a, least, nil
}

func (d *DNS) query(ctx context.Context, name string, t dnsmessage.Type, port string) ([]Instance, time.Duration, error) {
	question, err := newQuestion(name, t)
	if err != nil {
		return nil, 0, err
	}
	id := uint16(rand.Uint32())
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	var opt dnsmessage.ResourceHeader
	err = errors.Join(b.StartQuestions(), b.Question(question), b.StartAdditionals(),
		opt.SetEDNS0(1232, dnsmessage.RCodeSuccess, false), b.OPTResource(opt, dnsmessage.OPTResource{}))
	packet, e := b.Finish()
	if err = errors.Join(err, e); err != nil {
		return nil, 0, err
	}
	var whole []byte
	for _, network := range []string{"udp", "tcp"} {
		if whole, err = d.exchange(ctx, network, packet, id, question); err != nil {
			return nil, 0, err
		}
		var p dnsmessage.Parser
		if h, err := p.Start(whole); err != nil || !h.Truncated {
			break
		}
	}
	return ParseDNS(whole, id, question, port)
}

func newQuestion(name string, t dnsmessage.Type) (dnsmessage.Question, error) {
	n, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	return dnsmessage.Question{Name: n, Type: t, Class: dnsmessage.ClassINET}, err
}

// exchange waits for the answer to its own question: over UDP anybody can send one.
func (d *DNS) exchange(ctx context.Context, network string, packet []byte, id uint16, q dnsmessage.Question) ([]byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, d.Server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	if network == "tcp" {
		if _, err := io.ReadFull(conn, buf[:2]); err != nil {
			return nil, err
		}
		buf = buf[:binary.BigEndian.Uint16(buf)]
		_, err := io.ReadFull(conn, buf)
		return buf, err
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], id, q) {
			return buf[:n], nil
		}
	}
}

// answers says whether a packet is an answer to the question.
func answers(packet []byte, id uint16, q dnsmessage.Question) bool {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || h.ID != id || !h.Response {
		return false
	}
	got, err := p.Question()
	return err == nil && got.Type == q.Type && got.Class == q.Class && strings.EqualFold(got.Name.String(), q.Name.String())
}

// ParseDNS reads an answer. That there is no such name, or no record of the type, is an answer of no instance.
func ParseDNS(packet []byte, id uint16, q dnsmessage.Question, port string) (list []Instance, ttl time.Duration, err error) {
	if !answers(packet, id, q) {
		return nil, 0, errors.New("not an answer to the question")
	}
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil {
		return nil, 0, err
	}
	switch h.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return nil, 0, nil
	default:
		return nil, 0, fmt.Errorf("%w: %s", errServer, strings.TrimPrefix(h.RCode.String(), "RCode"))
	}
	if err := p.SkipAllQuestions(); err != nil {
		return nil, 0, err
	}
	seen := map[string]bool{}
	for {
		r, err := p.Answer()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return list, ttl, nil
		}
		if err != nil {
			return nil, 0, err
		}
		in := Instance{}
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			in.Address = net.JoinHostPort(netip.AddrFrom4(body.A).String(), port)
		case *dnsmessage.AAAAResource:
			in.Address = net.JoinHostPort(netip.AddrFrom16(body.AAAA).String(), port)
		case *dnsmessage.SRVResource:
			host := strings.TrimSuffix(body.Target.String(), ".")
			if host == "" { // decidedly none
				continue
			}
			in.Address = net.JoinHostPort(host, strconv.Itoa(int(body.Port)))
			in.Priority, in.Weight = int(body.Priority), int(body.Weight)
		default: // an alias on the way
			continue
		}
		if in.ID = in.Address; r.Header.Type != q.Type || seen[in.ID] {
			continue
		}
		if err := in.check(); err != nil {
			return nil, 0, err
		}
		if held := time.Duration(r.Header.TTL) * time.Second; len(list) == 0 || held < ttl {
			ttl = held
		}
		seen[in.ID] = true
		if list = append(list, in); len(list) > mostInstances {
			return nil, 0, fmt.Errorf("more than %d records", mostInstances)
		}
	}
}

// nameserver is the first that the system asks.
func nameserver(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			return net.JoinHostPort(f[1], "53"), nil
		}
	}
	return "", fmt.Errorf("%s names no DNS server: set DNS_SERVER", path)
}
