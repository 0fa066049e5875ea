package tls

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"
)

// rotation puts a new pair where the old one is, under load, and waits until a new connection is shown it.
func rotation(ctx context.Context, s *check.Stack) (check.Result, error) {
	fresh, err := newPair()
	if err != nil {
		return check.Result{}, err
	}
	// Half of the connections are kept, half are new for each request: both kinds live through a rotation.
	kept, err := s.Load(ctx, check.Outside, check.LoadSpec{Rate: 100, For: time.Minute, Args: []string{"-insecure"}, URL: outside + "/about"})
	if err != nil {
		return check.Result{}, err
	}
	anew, err := s.Load(ctx, check.Outside, check.LoadSpec{
		Rate: 50, For: time.Minute, Args: []string{"-insecure", "-keepalive=false", "-http1"}, URL: outside + "/about",
	})
	if err != nil {
		return check.Result{}, err
	}
	old, err := settled(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	begun := time.Now()
	files := map[string][]byte{certPath: fresh.cert, keyPath: fresh.key}
	if _, err := s.Write(ctx, sidecar, files); err != nil {
		return check.Result{}, err
	}
	patience, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var now string
	served := check.Wait(patience, "the new certificate", func(ctx context.Context) (err error) {
		if now, err = serving(ctx, s); err == nil && now != fresh.serial {
			err = fmt.Errorf("serial %s is served", now)
		}
		return err
	})
	took := time.Since(begun)
	a, err := kept.Stop(ctx)
	if err != nil {
		return check.Result{}, err
	}
	b, err := anew.Stop(ctx)
	if err != nil {
		return check.Result{}, err
	}
	requests, failed := a.Requests+b.Requests, a.Requests-a.OK+b.Requests-b.OK
	how := fmt.Sprintf("new serial after %.1f s", took.Seconds())
	if served != nil {
		how = fmt.Sprintf("new serial not served after %.0f s", took.Seconds())
	}
	res := check.Decide(served == nil && failed == 0, "%s, %d of %d requests failed", how, failed, requests)
	return res.Want("new serial, none failed").Of(requests).
		Because("old serial %s, new %s, served %s", old, fresh.serial, now).
		Because("%s", strings.Join(distinct(a.First, b.First), "\n")), nil
}

// badRotation writes pairs that cannot be served. Each must leave the old certificate in service, with requests
// answered, and show up with a reason in the status; and each is undone before the next.
func badRotation(ctx context.Context, s *check.Stack) (check.Result, error) {
	one, err := newPair()
	if err != nil {
		return check.Result{}, err
	}
	two, err := newPair()
	if err != nil {
		return check.Result{}, err
	}
	bad := []struct {
		name  string
		files map[string][]byte
	}{
		{"half-written", map[string][]byte{certPath: one.cert[:len(one.cert)/2], keyPath: one.key}},
		{"mismatched", map[string][]byte{certPath: one.cert, keyPath: two.key}},
		{"garbled", map[string][]byte{certPath: []byte("-----BEGIN NONSENSE-----\n"), keyPath: one.key}},
	}
	old, err := settled(ctx, s)
	if err != nil {
		return check.Result{}, err
	}
	kept := 0
	var said []string
	for _, b := range bad {
		reason, now, code, err := refuse(ctx, s, b.files)
		if err != nil {
			return check.Result{}, fmt.Errorf("%s pair: %w", b.name, err)
		}
		said = append(said, fmt.Sprintf("%s: status %q, serial kept %t, page %d", b.name, reason, now == old, code))
		if reason != "" && now == old && code == 200 {
			kept++
		}
	}
	res := check.Decide(kept == len(bad), "%d of %d bad pairs refused with a reason, old serial served", kept, len(bad))
	return res.Want("all").Of(len(bad)).Because("%s", strings.Join(said, "\n")), nil
}

// distinct is every text once, sorted.
func distinct(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// settled is the serial that is served, once it is that of the certificate on disk: an earlier rotation may not have
// been taken up yet.
func settled(ctx context.Context, s *check.Stack) (string, error) {
	data, err := s.ReadFile(ctx, sidecar, certPath)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return "", fmt.Errorf("%s has no certificate in it", certPath)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("%s: %w", certPath, err)
	}
	want := cert.SerialNumber.Text(16)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return want, check.Wait(ctx, "the certificate on disk to be served", func(ctx context.Context) error {
		now, err := serving(ctx, s)
		if err == nil && now != want {
			err = fmt.Errorf("serial %s is served, %s is on disk", now, want)
		}
		return err
	})
}

// refuse writes a bad pair, gives the sidecar time to say why it does not take it, looks, and undoes it. No reason
// within the time is an answer too: "".
func refuse(ctx context.Context, s *check.Stack, files map[string][]byte) (reason, serial string, code int, err error) {
	f, err := s.Write(ctx, sidecar, files)
	if err != nil {
		return "", "", 0, err
	}
	patience, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = check.Wait(patience, "a refusal", func(ctx context.Context) error {
		st, err := readStatus(ctx, s)
		if err == nil && st.LastReload.OK {
			err = fmt.Errorf("the last reload is said to be good")
		}
		reason = st.LastReload.Error
		return err
	})
	if serial, err = serving(ctx, s); err != nil {
		return "", "", 0, err
	}
	if code, err = get(ctx, s, "/about"); err != nil {
		return "", "", 0, err
	}
	if err := f.Heal(ctx); err != nil {
		return "", "", 0, err
	}
	return reason, serial, code, check.Wait(ctx, "the old pair to be good again", func(ctx context.Context) error {
		st, err := readStatus(ctx, s)
		if err == nil && !st.LastReload.OK {
			err = fmt.Errorf("the status says %q", st.LastReload.Error)
		}
		return err
	})
}
