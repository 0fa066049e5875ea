package tls

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"distlab/lab/check"
)

// sameBytes asks for the same pages inside the pod, in the clear, and outside, over HTTPS with the certificate
// verified, and compares status, type and the hash of the whole body.
func sameBytes(ctx context.Context, s *check.Stack) (check.Result, error) {
	paths := []string{"/about", "/style.css", "/orders", "/no-such-page", "/status/503", "/bytes?n=0", "/bytes?n=3000000"}
	r := s.Rand()
	for range 9 {
		paths = append(paths, fmt.Sprintf("/orders/%d", 1+r.IntN(240)), fmt.Sprintf("/orders?page=%d", 1+r.IntN(12)))
	}
	ca, err := s.ReadFile(ctx, sidecar, certPath)
	if err != nil {
		return check.Result{}, err
	}
	var plain, secure []check.HTTPAnswer
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		plain, err = s.HTTPEach(gctx, check.Inside(app), nil, prefixed(inside, paths)...)
		return err
	})
	g.Go(func() (err error) {
		flags := []string{"-ca", string(ca), "-sni", "localhost"}
		secure, err = s.HTTPEach(gctx, check.Outside, flags, prefixed(outside, paths)...)
		return err
	})
	if err := g.Wait(); err != nil {
		return check.Result{}, err
	}
	equal, bytes := 0, int64(0)
	var differ []string
	for i, path := range paths {
		if plain[i].Error != "" {
			return check.Result{}, fmt.Errorf("the app itself does not answer %s: %s", path, plain[i].Error)
		}
		a, b := essence(plain[i]), essence(secure[i])
		if a == b && secure[i].TLS != nil {
			equal++
			bytes += plain[i].Bytes
			continue
		}
		differ = append(differ, fmt.Sprintf("%s: %s inside, %s outside", path, a, b))
	}
	res := check.Decide(equal == len(paths), "%d of %d answers equal, %d bytes", equal, len(paths), bytes)
	return res.Want("all equal").Of(len(paths)).Because("%s", strings.Join(differ, "\n")), nil
}

func prefixed(base string, paths []string) []string {
	var urls []string
	for _, p := range paths {
		urls = append(urls, base+p)
	}
	return urls
}

func essence(a check.HTTPAnswer) string {
	if a.Error != "" {
		return a.Error
	}
	return fmt.Sprintf("%d %v %d bytes %.12s", a.Status, a.Header["Content-Type"], a.Bytes, a.SHA256)
}

// plaintextClosed knocks at the app's ports from a neighbour. It first makes sure that the app does listen, within
// the pod, and that the pod can be reached from where it knocks: else a refusal would say nothing.
func plaintextClosed(ctx context.Context, s *check.Stack) (check.Result, error) {
	ports := []string{"8080", "9091"} // the app's HTTP, and its admin port
	var within, through check.TCPAnswer
	answers := make([]check.TCPAnswer, len(ports))
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		within, err = s.TCP(gctx, check.Inside(app), "127.0.0.1:"+ports[0])
		return err
	})
	g.Go(func() (err error) {
		through, err = s.TCP(gctx, check.Outside, fmt.Sprintf("%s:%d", pod, httpsPort))
		return err
	})
	for i, port := range ports {
		g.Go(func() (err error) {
			answers[i], err = s.TCP(gctx, check.Outside, net.JoinHostPort(pod, port))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return check.Result{}, err
	}
	if !within.Connected || !through.Connected {
		return check.Unknown("the app must accept within the pod (%q) and the sidecar from outside (%q)", within.Error, through.Error), nil
	}
	refused := 0
	var seen []string
	for i, a := range answers {
		what := string(a.ErrorKind)
		if a.Connected {
			what = "accepted"
		}
		seen = append(seen, "port "+ports[i]+" "+what)
		if a.ErrorKind == check.Refused {
			refused++
		} else if !a.Connected {
			return check.Unknown("port %s neither accepted nor refused: %s", ports[i], a.Error), nil
		}
	}
	return check.Decide(refused == len(ports), "%s", strings.Join(seen, ", ")).Want("all refused").Of(len(ports)), nil
}

// forgery is what a client claims of itself to look like another.
const forgery = "203.0.113.66"

var forged = map[string]string{
	"X-Forwarded-For":   forgery,
	"X-Real-IP":         forgery,
	"Forwarded":         "for=" + forgery + ";proto=http;host=" + forgery,
	"X-Forwarded-Host":  forgery,
	"X-Forwarded-Proto": "gopher-" + forgery,
}

// forwarded sends forged headers and reads what the app received. The same request sent to the app itself shows
// first that forged headers would arrive if nobody dropped them.
func forwarded(ctx context.Context, s *check.Stack) (check.Result, error) {
	flags := []string{"-insecure"}
	for _, name := range slices.Sorted(keys(forged)) {
		flags = append(flags, "-header", name+": "+forged[name])
	}
	var direct, through check.HTTPAnswer
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		direct, err = s.HTTP(gctx, check.Inside(app), append(slices.Clone(flags), inside+"/echo")...)
		return err
	})
	g.Go(func() (err error) {
		through, err = s.HTTP(gctx, check.Outside, append(slices.Clone(flags), outside+"/echo")...)
		return err
	})
	if err := g.Wait(); err != nil {
		return check.Result{}, err
	}
	before, err := received(direct)
	if err != nil {
		return check.Result{}, fmt.Errorf("ask the app itself: %w", err)
	}
	after, err := received(through)
	if err != nil {
		return check.Result{}, fmt.Errorf("ask through the sidecar: %w", err)
	}
	if got := carrying(before, forgery); len(got) != len(forged) {
		return check.Unknown("sent to the app itself, only %v arrived of the forged headers", got), nil
	}
	client, _, err := net.SplitHostPort(through.Local)
	if err != nil {
		return check.Result{}, fmt.Errorf("the probe's own address: %w", err)
	}
	passed := carrying(after, forgery)
	told := fmt.Sprintf("%s %s", strings.Join(after["X-Forwarded-For"], ","), strings.Join(after["X-Forwarded-Proto"], ","))
	res := check.Decide(len(passed) == 0 && told == client+" https", "client and scheme %q, %d of %d forged headers passed",
		told, len(passed), len(forged))
	return res.Want("%q, none passed", client+" https").Of(len(forged)).Because("the app received %v", after), nil
}

func received(a check.HTTPAnswer) (map[string][]string, error) {
	if a.Error != "" {
		return nil, fmt.Errorf("%s", a.Error)
	}
	var echo struct {
		Headers map[string][]string `json:"headers"`
	}
	if err := json.Unmarshal(a.Body, &echo); err != nil {
		return nil, fmt.Errorf("the app's echo: %w", err)
	}
	return echo.Headers, nil
}

// carrying names the headers in which a text appears.
func carrying(headers map[string][]string, text string) []string {
	var names []string
	for name, values := range headers {
		if strings.Contains(strings.Join(values, ","), text) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// offers are handshakes, each with one version only, and what must come of them.
var offers = []struct{ version, want string }{
	{"1.0", "refused"},
	{"1.1", "refused"},
	{"1.2", "1.2 h2"},
	{"1.3", "1.3 h2"},
}

func modernTLS(ctx context.Context, s *check.Stack) (check.Result, error) {
	answers := make([]check.TLSAnswer, len(offers))
	g, gctx := errgroup.WithContext(ctx)
	for i, o := range offers {
		g.Go(func() (err error) {
			answers[i], err = s.TLS(gctx, check.Outside, "-insecure", "-min", o.version, "-max", o.version,
				"-alpn", "h2,http/1.1", fmt.Sprintf("%s:%d", pod, httpsPort))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return check.Result{}, err
	}
	right := 0
	var seen, why []string
	for i, o := range offers {
		got := ""
		switch a := answers[i]; {
		case a.Handshake:
			got = a.Version + " " + a.ALPN
		case a.ErrorKind == check.TLSError:
			got = "refused"
			why = append(why, o.version+": "+a.Error)
		default:
			return check.Unknown("TLS %s: neither a handshake nor a refusal: %s", o.version, a.Error), nil
		}
		if got == o.want {
			right++
		}
		seen = append(seen, o.version+" → "+got)
	}
	res := check.Decide(right == len(offers), "%s", strings.Join(seen, ", "))
	return res.Want("1.0 and 1.1 refused, 1.2 and 1.3 with h2").Of(len(offers)).Because("%s", strings.Join(why, "\n")), nil
}
