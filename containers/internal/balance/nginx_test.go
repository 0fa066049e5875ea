package balance

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// upstreams are sets of servers, as nginx gets them and as New does. Servers
// a, b and c answer with their names; nothing listens at dead.
var upstreams = map[string][]Peer{
	"equal":    {server("a", 1), server("b", 1), server("c", 1)},
	"weighted": {server("a", 5), server("b", 1), server("c", 2)},
	"two":      {server("a", 9), server("b", 1)},
	"one":      {server("b", 3)},
	"down":     {server("a", 2), down(server("b", 3)), server("c", 1)},
	"fails":    {server("dead", 4), server("a", 2), server("b", 1), server("c", 1)},
	"twice":    {server("a", 1), server("a", 2), server("b", 1)},
}

// addresses of the servers inside nginx's container; c has no port, which
// consistent hashing sees.
var addresses = map[string]string{"a": "127.0.0.1:8001", "b": "127.0.0.1:8002", "c": "127.0.0.3", "dead": "127.0.0.1:8009"}

func server(name string, weight int) Peer {
	return Peer{Server: addresses[name], Weight: weight, MaxFails: 1, FailTimeout: time.Hour}
}

func down(p Peer) Peer {
	p.Down = true
	return p
}

// directives are what makes an upstream choose so.
var directives = map[string]string{
	"smooth": "", "ip_hash": "ip_hash;", "hash": "hash $arg_k;", "consistent": "hash $arg_k consistent;",
}

// splits are the shares of split_clients, and the weights that say the same.
var splits = []struct {
	text    string
	weights []int
}{
	{"10% a; * b;", []int{1, 9}},
	{"90% a; * b;", []int{9, 1}},
	{"0.5% a; 33.33% b; * c;", []int{50, 3333, 6617}},
	{"33.33% a; 33.33% b; * c;", []int{1, 1, 1}},
	{"25% a; 25% b; 50% c;", []int{1, 1, 2}},
}

func nginxConf() string {
	var b strings.Builder
	b.WriteString("worker_processes 1;\nevents {}\nhttp {\naccess_log off;\nset_real_ip_from 0.0.0.0/0;\nreal_ip_header X-Real-Ip;\n")
	for _, name := range []string{"a", "b", "c"} {
		listen := addresses[name]
		if !strings.Contains(listen, ":") {
			listen += ":80"
		}
		fmt.Fprintf(&b, "server { listen %s; return 200 %s; }\n", listen, name)
	}
	var locations strings.Builder
	for set, list := range upstreams {
		for method, directive := range directives {
			fmt.Fprintf(&b, "upstream %s_%s { %s\n", method, set, directive)
			for _, p := range list {
				fmt.Fprintf(&b, "  server %s weight=%d fail_timeout=1h%s;\n", p.Server, p.Weight, map[bool]string{true: " down"}[p.Down])
			}
			b.WriteString("}\n")
			fmt.Fprintf(&locations, "  location /%s/%s { proxy_pass http://%s_%s; }\n", method, set, method, set)
		}
	}
	for i, s := range splits {
		fmt.Fprintf(&b, "split_clients $arg_k $split_%d { %s }\n", i, s.text)
		fmt.Fprintf(&locations, "  location /split/%d { return 200 $split_%d; }\n", i, i)
	}
	fmt.Fprintf(&b, "server { listen 8080;\n%s}\n}\n", locations.String())
	return b.String()
}

// TestNginx sends the same clients and keys through a real nginx and through
// this package, and compares each choice.
func TestNginx(t *testing.T) {
	if testing.Short() {
		t.Log("-short leaves out what needs Docker")
		return
	}
	front := startNginx(t)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	choice := func(path, key string, addr netip.Addr) string {
		req, err := http.NewRequestWithContext(t.Context(), "GET", front+path+"?k="+url.QueryEscape(key), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Real-Ip", addr.String())
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			return resp.Status
		}
		return string(body)
	}
	const n = 400
	random := rand.New(rand.NewPCG(1, 2))
	for set, list := range upstreams {
		for method := range directives {
			t.Run(method+"/"+set, func(t *testing.T) {
				peers := make([]*Peer, len(list))
				for i := range list {
					copied := list[i]
					peers[i] = &copied
				}
				s := New(peers, method == "consistent")
				for range n {
					key, addr := randomKey(random), randomAddr(random)
					want, got := choice("/"+method+"/"+set, key, addr), ours(s, method, key, addr)
					if got != want {
						t.Fatalf("key %q, address %s: we choose %s, nginx %s", key, addr, got, want)
					}
				}
			})
		}
	}
	for i, split := range splits {
		t.Run(fmt.Sprint("split_clients/", i), func(t *testing.T) {
			s := New(weighted(split.weights), false)
			for range n {
				key := randomKey(random)
				want, got := choice(fmt.Sprint("/split/", i), key, netip.Addr{}), string(rune('a'+s.Share([]byte(escaped(key)))))
				if got != want {
					t.Fatalf("key %q: we choose %s, nginx %s", key, got, want)
				}
			}
		})
	}
}

// ours is the server that answers in the end: the first one that is alive.
func ours(s *Peers, method, key string, addr netip.Addr) string {
	now := time.Second
	var k Pick
	for {
		i := methods[method](s, &k, addr, []byte(escaped(key)))
		if i < 0 {
			return "502 Bad Gateway"
		}
		p := s.Peer(i)
		failed := p.Server == addresses["dead"]
		Done(p, failed, now)
		for name, address := range addresses {
			if !failed && address == p.Server {
				return name
			}
		}
	}
}

// escaped is the key as nginx sees it: it does not decode arguments.
func escaped(key string) string { return url.QueryEscape(key) }

func weighted(weights []int) []*Peer { return peers(weights...) }

func randomKey(r *rand.Rand) string {
	key := make([]byte, 1+r.IntN(24))
	for i := range key {
		key[i] = byte(r.Uint32())
	}
	return string(key)
}

func randomAddr(r *rand.Rand) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if b[0] < 128 {
		b[0] = 0x20
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

// startNginx is the address of a real nginx.
func startNginx(t *testing.T) string {
	t.Helper()
	image := output(t, "../../../scripts/debian-image", "nginx")
	conf := filepath.Join(t.TempDir(), "nginx.conf")
	if err := os.WriteFile(conf, []byte(nginxConf()), 0o644); err != nil {
		t.Fatal(err)
	}
	container := fmt.Sprint("distlab-splitter-nginx-", os.Getpid())
	output(t, "docker", "create", "--name", container, "-p", "127.0.0.1::8080", image)
	t.Cleanup(func() { exec.Command("docker", "rm", "-f", container).Run() })
	// Copied and not mounted: the engine need not share this file system.
	output(t, "docker", "cp", conf, container+":/etc/nginx/nginx.conf")
	output(t, "docker", "start", container)
	front := "http://" + output(t, "docker", "port", container, "8080/tcp")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(front + "/split/0?k=a")
		if err == nil {
			resp.Body.Close()
			return front
		}
		if time.Now().After(end) {
			logs, _ := exec.Command("docker", "logs", container).CombinedOutput()
			t.Fatalf("nginx does not answer: %v\n%s", err, logs)
		}
	}
}

// output is what a command prints on standard output, without the line's end.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\nhint: this test needs Docker; -short leaves it out", name, err, errs.String())
	}
	return strings.TrimSpace(string(out))
}
