package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// tables are the kernel's lists of TCP sockets in this process's network namespace. Source: proc(5), /proc/net/tcp.
var tables = []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"}

// listening is the state of a socket that waits for connections, as the kernel writes it.
const listening = "0A"

func runSockets(_ context.Context, args []string, out *printer) error {
	rest, err := parse(flag.NewFlagSet("sockets", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return wrong("sockets takes no arguments")
	}
	a := socketsAnswer{Listening: []string{}}
	for _, path := range tables {
		f, err := os.Open(path)
		if os.IsNotExist(err) && path != tables[0] {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
		found, err := listeners(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		a.Listening = append(a.Listening, found...)
	}
	slices.Sort(a.Listening)
	a.Listening = slices.Compact(a.Listening)
	return out.print(a)
}

// listeners reads a table. A line that cannot be read is an error: the socket that it means may be the one that counts.
func listeners(r io.Reader) (list []string, err error) {
	lines := bufio.NewScanner(r)
	lines.Scan() // the head
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 {
			return nil, fmt.Errorf("not a line on a socket: %q", lines.Text())
		}
		if fields[3] != listening {
			continue
		}
		addr, err := localAddress(fields[1])
		if err != nil {
			return nil, err
		}
		list = append(list, addr.String())
	}
	return list, lines.Err()
}

// localAddress reads the kernel's writing: words of four bytes in the machine's order, which is that of all that this
// runs on, and the port.
func localAddress(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	n, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("not an address: %q", text)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, uint16(n)), nil
}
