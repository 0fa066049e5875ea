package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// overSSH runs git-upload-pack at the other end: gitprotocol-pack(5). The server is one that the known_hosts file
// knows; there is no way to do without.
type overSSH struct {
	conn    net.Conn
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	path    string
	stop    func() bool // of the watch over ctx
}

func (r *Remote) dialSSH(ctx context.Context) (*overSSH, error) {
	key, err := secret(r.KeyPath)
	if err != nil {
		return nil, fmt.Errorf("SSH_KEY_PATH: %w", err)
	}
	signer, err := ssh.ParsePrivateKey([]byte(key + "\n"))
	if err != nil {
		return nil, fmt.Errorf("SSH_KEY_PATH: %w", err)
	}
	known, err := knownhosts.New(r.HostsPath)
	if err != nil {
		return nil, fmt.Errorf("SSH_KNOWN_HOSTS_PATH: %w", err)
	}
	addr := net.JoinHostPort(r.URL.Hostname(), cmp.Or(r.URL.Port(), "22"))
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &overSSH{conn: conn, path: r.URL.Path}
	// The library knows no context: what ends it is the connection.
	s.stop = context.AfterFunc(ctx, func() { conn.Close() })
	config := &ssh.ClientConfig{
		User:              cmp.Or(r.URL.User.Username(), r.Username),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   known,
		HostKeyAlgorithms: algorithms(known, addr, conn.RemoteAddr()),
	}
	if err := s.open(config, addr); err != nil {
		s.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("ssh %s: %w", addr, err)
	}
	return s, nil
}

// algorithms are those of the keys that the file has of a server: asked for another of its keys, it would seem a
// stranger.
func algorithms(known ssh.HostKeyCallback, addr string, remote net.Addr) (list []string) {
	var unknown *knownhosts.KeyError
	// A key that cannot be known is answered with those that are.
	if !errors.As(known(addr, remote, nobody{}), &unknown) {
		return nil
	}
	for _, k := range unknown.Want {
		if t := k.Key.Type(); t == ssh.KeyAlgoRSA {
			list = append(list, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			list = append(list, t)
		}
	}
	return list
}

// nobody is a key that no server has.
type nobody struct{}

func (nobody) Type() string                        { return "nobody" }
func (nobody) Marshal() []byte                     { return nil }
func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("nobody's key") }

func (s *overSSH) open(config *ssh.ClientConfig, addr string) error {
	conn, chans, reqs, err := ssh.NewClientConn(s.conn, addr, config)
	if err != nil {
		return err
	}
	s.client = ssh.NewClient(conn, chans, reqs)
	if s.session, err = s.client.NewSession(); err != nil {
		return err
	}
	if s.in, err = s.session.StdinPipe(); err != nil {
		return err
	}
	if s.out, err = s.session.StdoutPipe(); err != nil {
		return err
	}
	return s.session.Start(service + " '" + strings.ReplaceAll(s.path, "'", `'\''`) + "'")
}

func (s *overSSH) refs(context.Context) (io.Reader, error) { return s.out, nil }

func (s *overSSH) ask(_ context.Context, request []byte) (io.Reader, error) {
	if _, err := s.in.Write(request); err != nil {
		return nil, fmt.Errorf("ssh: %w", err)
	}
	return s.out, nil
}

func (s *overSSH) Close() error {
	s.stop()
	if s.client != nil {
		return s.client.Close()
	}
	return s.conn.Close()
}
