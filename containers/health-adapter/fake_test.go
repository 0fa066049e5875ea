package main

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fake is a server on loopback that does with each connection what serve does, and counts those that are open.
type fake struct {
	addr   string
	opened atomic.Int32
	mu     sync.Mutex
	conns  map[net.Conn]bool
	wg     sync.WaitGroup
}

func newFake(t *testing.T, serve func(net.Conn)) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: ln.Addr().String(), conns: map[net.Conn]bool{}}
	f.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			f.opened.Add(1)
			f.mu.Lock()
			f.conns[conn] = true
			f.mu.Unlock()
			f.wg.Go(func() {
				serve(conn)
				conn.Close()
				f.mu.Lock()
				delete(f.conns, conn)
				f.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() { ln.Close(); f.cut(); f.wg.Wait() })
	return f
}

// cut closes every connection.
func (f *fake) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		conn.Close()
	}
}

func (f *fake) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// silent accepts and never answers. It ends when the client closes.
func silent(conn net.Conn) { io.Copy(io.Discard, conn) }

// says sends bytes and then is silent.
func says(text string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, text)
		silent(conn)
	}
}

// minimal is as much of a MySQL server as a check needs: a handshake, and an answer to each query.
type minimal struct {
	refuse uint16                     // an error in place of the handshake, 0: none
	login  uint16                     // an error after it
	tls    *tls.Config                // nil: without
	answer func(query string) [][]any // rows; nil: OK without a result; the value hang: none ever; a uint16: that error
	mu     sync.Mutex
	asked  []string
}

type hang struct{}

func (m *minimal) queries() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

func (m *minimal) serve(conn net.Conn) {
	if m.refuse != 0 {
		send(conn, 0, failure(m.refuse))
		return
	}
	send(conn, 0, greeting(m.tls != nil))
	packet, err := receive(conn)
	if err != nil {
		return
	}
	seq := byte(2)
	if m.tls != nil && len(packet) == 32 { // asks for TLS, and logs in within it
		secure := tls.Server(conn, m.tls)
		conn = secure
		if _, err := receive(conn); err != nil {
			return
		}
		seq++
	}
	if m.login != 0 {
		send(conn, seq, failure(m.login))
		return
	}
	send(conn, seq, okay)
	for {
		packet, err := receive(conn)
		if err != nil || len(packet) == 0 || packet[0] == 1 { // quit
			return
		}
		query := string(packet[1:])
		m.mu.Lock()
		m.asked = append(m.asked, query)
		m.mu.Unlock()
		var rows [][]any
		if m.answer != nil && !strings.HasPrefix(query, "SET SESSION") {
			rows = m.answer(query)
		}
		if !m.reply(conn, rows) {
			return
		}
	}
}

func (m *minimal) reply(conn net.Conn, rows [][]any) bool {
	if len(rows) == 0 {
		return send(conn, 1, okay)
	}
	switch first := rows[0][0].(type) {
	case hang:
		silent(conn)
		return false
	case uint16:
		return send(conn, 1, failure(first))
	}
	seq := byte(1)
	put := func(body []byte) { send(conn, seq, body); seq++ }
	put([]byte{byte(len(rows[0]))})
	for _, name := range rows[0] { // the first row is the names
		var column []byte
		for _, text := range []string{"def", "", "", "", name.(string), ""} {
			column = append(append(column, byte(len(text))), text...)
		}
		put(append(column, 0x0c, 33, 0, 0, 1, 0, 0, 0xfd, 0, 0, 0, 0, 0))
	}
	eof := []byte{0xfe, 0, 0, 2, 0}
	put(eof)
	for _, row := range rows[1:] {
		var body []byte
		for _, v := range row {
			if v == nil {
				body = append(body, 0xfb)
				continue
			}
			body = append(append(body, byte(len(v.(string)))), v.(string)...)
		}
		put(body)
	}
	put(eof)
	return true
}

var okay = []byte{0, 0, 0, 2, 0, 0, 0}

func failure(code uint16) []byte {
	body := binary.LittleEndian.AppendUint16([]byte{0xff}, code)
	return append(body, "#HY000Host 10.9.8.7 and password hunter2 are in this message"...)
}

// greeting is protocol 10 of a server without TLS that takes native passwords.
func greeting(secure bool) []byte {
	flags := 1 | 8 | 512 | 8192 | 32768 | 1<<19 // long password, with database, protocol 4.1, transactions, secure, plugin
	if secure {
		flags |= 2048
	}
	body := append([]byte{10}, "8.0.0-minimal\x00\x01\x00\x00\x0012345678\x00"...)
	body = append(body, byte(flags&0xff), byte(flags>>8&0xff), 33, 2, 0, byte(flags>>16&0xff), 0, 21)
	body = append(body, make([]byte, 10)...)
	return append(body, "123456789012\x00mysql_native_password\x00"...)
}

func send(conn net.Conn, seq byte, body []byte) bool {
	head := []byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), seq}
	_, err := conn.Write(append(head, body...))
	return err == nil
}

func receive(conn net.Conn) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	body := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err := io.ReadFull(conn, body)
	return body, err
}
