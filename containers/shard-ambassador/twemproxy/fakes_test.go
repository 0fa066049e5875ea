package twemproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"distlab/containers/shard-ambassador/pool"
)

const (
	fakes    = 25    // servers that stand behind twemproxy
	fakePort = 21000 // port of the first
	patience = 60 * time.Second
)

// start starts the fakes, and twemproxy with a pool file that our reader must read as well.
func start(file string) (pools []pool.Pool, stop func(), err error) {
	pools, err = pool.Parse("pools.yml", []byte(file), extras())
	if err != nil {
		return nil, nil, err
	}
	for i := range fakes {
		if err := errors.Join(
			fake(i, "tcp", fmt.Sprintf("127.0.0.1:%d", fakePort+i)),
			fake(i, "unix", fmt.Sprintf("/tmp/fake-%d.sock", i)),
			fake(i, "tcp", fmt.Sprintf("127.0.0.%d:11211", i+2)),
		); err != nil {
			return nil, nil, err
		}
	}
	if err := os.WriteFile("/tmp/pools.yml", []byte(file), 0o600); err != nil {
		return nil, nil, err
	}
	cmd := exec.Command("nutcracker", "-c", "/tmp/pools.yml", "-o", "/tmp/log", "-p", "/tmp/pid", "-a", "127.0.0.1")
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for _, p := range pools {
		if err := listening(p.Listen.Addr); err != nil {
			stop()
			log, _ := os.ReadFile("/tmp/log")
			return nil, nil, fmt.Errorf("nutcracker does not listen: %w\n%s", err, log)
		}
	}
	return pools, stop, nil
}

// listening waits until somebody does.
func listening(at pool.Addr) error {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial(at.Network, at.Address)
		if err == nil {
			return conn.Close()
		}
		if time.Since(begun) > patience {
			return err
		}
	}
}

// fake is a server that answers every GET with its own number.
func fake(number int, network, address string) error {
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, strconv.Itoa(number))
		}
	}()
	return nil
}

func answer(conn net.Conn, number string) {
	defer conn.Close()
	in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
	for {
		// Each request is *2, then $3 GET, then the key.
		if _, err := in.ReadSlice('\n'); err != nil {
			return
		}
		for range 2 {
			if err := skip(in); err != nil {
				return
			}
		}
		fmt.Fprintf(out, "$%d\r\n%s\r\n", len(number), number)
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

// skip reads past a bulk string.
func skip(in *bufio.Reader) error {
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.Trim(line, "$\r\n"))
	if err != nil {
		return err
	}
	_, err = in.Discard(n + 2)
	return err
}

// ask gets all keys over one connection, and is the numbers of the fakes that answered.
func ask(address string, keys [][]byte) ([]int, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go func() {
		out := bufio.NewWriter(conn)
		for _, key := range keys {
			fmt.Fprintf(out, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)
		}
		out.Flush() // a reader that gets nothing tells
	}()
	in := bufio.NewReader(conn)
	var answers []int
	for i := range keys {
		size, err := in.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", keys[i], err)
		}
		if !strings.HasPrefix(size, "$") {
			return nil, fmt.Errorf("key %q: answer %q", keys[i], size)
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", keys[i], err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("key %q: answer %q", keys[i], line)
		}
		answers = append(answers, n)
	}
	return answers, nil
}

// eject asks for a key of a server that is not there until another one answers.
func eject(address string, key []byte) error {
	var last error
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(10 * time.Millisecond) {
		if _, last = ask(address, [][]byte{key}); last == nil {
			return nil
		}
		if errors.Is(last, io.ErrUnexpectedEOF) {
			return last
		}
	}
	return fmt.Errorf("not ejected in %s: %w", patience, last)
}
