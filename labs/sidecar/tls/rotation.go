package tls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"distlab/lab/check"
)

// lead is how long a load runs before an event, and after it.
const lead = 2 * time.Second

// hold is how long a state must hold: longer than the sidecar waits between two looks at its files, which is a second.
const hold = 1200 * time.Millisecond

// newcomers are those who shake hands and must all be shown one certificate.
func newcomers() []hello {
	return []hello{
		{name: "without SNI"},
		{name: "with SNI", sni: "localhost"},
		{name: "with a name that is none of the certificate's", sni: "shop.example"},
		{name: "TLS 1.2", sni: "localhost", version: tls.VersionTLS12},
		{name: "HTTP/2", sni: "localhost", alpn: []string{"h2"}},
		{name: "one who resumes", sni: "localhost", cache: tls.NewLRUClientSessionCache(8)},
		{name: "one who resumes TLS 1.2", version: tls.VersionTLS12, sni: pod, cache: tls.NewLRUClientSessionCache(8)},
	}
}

// shown is an error unless every newcomer is shown that serial.
func shown(serial string, who []hello) func(*check.M) error {
	return func(m *check.M) error {
		for _, h := range who {
			state, err := h.shake(m.Context(), m)
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			if got := state.PeerCertificates[0].SerialNumber.Text(16); got != serial {
				return fmt.Errorf("%s is shown %s", h.name, got)
			}
		}
		return nil
	}
}

// settled is the serial of the certificate on disk, once everybody is shown it: an earlier rotation may not have been
// taken up yet.
func settled(m *check.M, who []hello) string {
	block, _ := pem.Decode(m.ReadFile(sidecar, certPath))
	m.Need(block != nil, "%s has no certificate in it", certPath)
	serial := check.Got(x509.ParseCertificate(block.Bytes)).SerialNumber.Text(16)
	m.Await(2*patience, "the certificate on disk", shown(serial, who))
	return serial
}

// traffic is the load beside an event, in the ways in which clients come. The control asks the app itself.
func traffic() []check.Flow {
	return []check.Flow{
		{Name: "HTTP/2, kept", Rate: 60, Args: []string{"-insecure", "-http2"}, URL: outside + "/about"},
		{Name: "HTTP/1.1, kept, with SNI", Rate: 60, Args: []string{"-insecure", "-http1", "-sni", "localhost"}, URL: outside + "/about"},
		{Name: "HTTP/1.1, anew", Rate: 30, Args: []string{"-insecure", "-http1", "-keepalive=false"}, URL: outside + "/bytes?n=70000"},
		{Name: "control", Rate: 60, From: check.Inside(app), URL: inside + "/about", Control: true},
	}
}

// rotation puts a new pair where the old one is, under load, and waits until every newcomer is shown it; and it must
// stay so. Nobody may fail meanwhile, on a connection from before or on a new one.
func rotation(m *check.M) check.Result {
	who, fresh := newcomers(), newPair()
	old := settled(m, who)
	var took check.Took
	var last error
	var held check.Held
	t := m.Beside(lead, traffic(), func() {
		m.Write(sidecar, map[string][]byte{certPath: fresh.cert, keyPath: fresh.key})
		if took, last = m.Until(patience, shown(fresh.serial, who)); took != check.Never {
			held = m.Hold(hold, shown(fresh.serial, who))
		}
	})
	res := check.Decide(took != check.Never && held.Broke == nil && t.Failed() == 0,
		"new serial after %v, which %v; %d of %d requests failed", took, held, t.Failed(), t.Requests())
	res = res.Want("new serial for all, and for good; none failed").Of(t.Requests()).
		Because("old serial %s, new %s; last: %v", old, fresh.serial, last)
	if n := refused(t); n > 0 {
		return res.Because("%d connections were refused, which no busy machine does", n)
	}
	return t.Fair(res)
}

// refused is how many connections found nobody who listens, unless the control did so, too.
func refused(t check.Traffic) (n int) {
	for i, f := range t.Flows {
		switch got := t.Answers[i].Errors[check.Refused]; {
		case !f.Control:
			n += got
		case got > 0:
			return 0
		}
	}
	return n
}

// badRotation writes pairs that cannot be served. Each must leave the old certificate in service for everybody, with
// requests answered, for longer than the sidecar takes to look; and show up in the status with its own reason. And each is
// undone before the next, which must show as well.
func badRotation(m *check.M) check.Result {
	who, one, two := newcomers(), newPair(), newPair()
	bad := []struct {
		name, reason string // in the status
		files        map[string][]byte
	}{
		{"half-written", "PEM block 1 is incomplete", map[string][]byte{certPath: one.cert[:len(one.cert)/2], keyPath: one.key}},
		{"of a chain whose end is cut off", "PEM block 2 is incomplete", map[string][]byte{certPath: append(one.cert[:len(one.cert):len(one.cert)], two.cert[:200]...), keyPath: one.key}},
		{"mismatched", "private key does not match", map[string][]byte{certPath: one.cert, keyPath: two.key}},
		{"garbled", "no PEM block CERTIFICATE", map[string][]byte{certPath: []byte("----- NONSENSE -----\n"), keyPath: one.key}},
	}
	old := settled(m, who)
	v := visit(m, anew, nil)
	var as check.Ways
	for _, b := range bad {
		f := m.Write(sidecar, b.files)
		_, refused := m.Until(patience, func(m *check.M) error {
			st := status(m)
			if st.LastReload.OK || !strings.Contains(st.LastReload.Error, b.reason) || st.LastReload.KeptSerial != padded(old) {
				return fmt.Errorf("%+v", st.LastReload)
			}
			return nil
		})
		held := m.Hold(hold, func(m *check.M) error {
			if err := v.is(m.Context(), 200); err != nil {
				return err
			}
			return shown(old, who)(m)
		})
		as.Way("a pair "+b.name).Note(refused == nil && held.Broke == nil, "the status says %v; the old serial %v", refused, held)
		m.Heal(f)
		m.Await(2*patience, "the old pair to be good again", func(m *check.M) error {
			if st := status(m); !st.LastReload.OK {
				return fmt.Errorf("%+v", st.LastReload)
			}
			return nil
		})
	}
	return as.Decide()
}

// reloads is the part of the sidecar's /status that the claims read.
type reloads struct {
	LastReload struct {
		OK         bool   `json:"ok"`
		Error      string `json:"error"`
		KeptSerial string `json:"kept_serial"`
	} `json:"last_reload"`
}

func status(m *check.M) (st reloads) {
	m.JSON(pod, adminPort, "/status", &st)
	return st
}

// padded is a serial as the sidecar writes it: whole bytes.
func padded(serial string) string {
	if len(serial)%2 == 1 {
		return "0" + serial
	}
	return serial
}
