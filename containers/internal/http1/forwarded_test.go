package http1

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestHeaders(t *testing.T) {
	in := http.Header{
		"X-Forwarded-For":   {"198.51.100.7, 10.0.0.9", "10.0.0.8"},
		"X-Forwarded-Proto": {"http"},
		"X-Forwarded-Host":  {"public.example"},
		"X-Forwarded-Port":  {"8080"},
		"X-Real-Ip":         {"6.6.6.6"},
		"Forwarded":         {`for=198.51.100.7;proto=http, for="[2001:db8::9]:77"`},
		"Accept":            {"*/*"},
	}
	fresh := func(addr, forwarded string) http.Header {
		return http.Header{
			"X-Forwarded-For":   {addr},
			"X-Forwarded-Proto": {"https"},
			"X-Forwarded-Host":  {"app.example:8443"},
			"X-Forwarded-Port":  {"8443"},
			"X-Real-Ip":         {addr},
			"Forwarded":         {forwarded + `;host="app.example:8443";proto=https`},
			"Accept":            {"*/*"},
		}
	}
	tests := []struct {
		name    string
		trusted []netip.Prefix
		remote  string
		in      http.Header
		want    http.Header
	}{
		{"untrusted", prefixes("10.0.0.0/8"), "203.0.113.5:999", in, fresh("203.0.113.5", "for=203.0.113.5")},
		{"nobody trusted", nil, "10.0.0.1:999", in, fresh("10.0.0.1", "for=10.0.0.1")},
		{"IPv6", nil, "[2001:db8::5]:999", in, fresh("2001:db8::5", `for="[2001:db8::5]"`)},
		{"IPv6 with a zone", nil, "[fe80::5%eth0]:999", in, fresh("fe80::5", `for="[fe80::5]"`)},
		{"mapped", nil, "[::ffff:203.0.113.5]:999", in, fresh("203.0.113.5", "for=203.0.113.5")},
		{"trusted", prefixes("10.0.0.0/8"), "10.0.0.1:999", in, http.Header{
			"X-Forwarded-For":   {"198.51.100.7, 10.0.0.9, 10.0.0.8, 10.0.0.1"},
			"X-Forwarded-Proto": {"http"},
			"X-Forwarded-Host":  {"public.example"},
			"X-Forwarded-Port":  {"8080"},
			"X-Real-Ip":         {"198.51.100.7"}, // the last that is not a trusted proxy
			"Forwarded":         {`for=198.51.100.7;proto=http, for="[2001:db8::9]:77", for=10.0.0.1;host="app.example:8443";proto=https`},
			"Accept":            {"*/*"},
		}},
		{"trusted through IPv6", prefixes("10.0.0.0/8"), "[::ffff:10.0.0.1]:999", http.Header{"Accept": {"*/*"}}, fresh("10.0.0.1", "for=10.0.0.1")},
		{"trusted, with a broken Forwarded", prefixes("10.0.0.1/32"), "10.0.0.1:999", http.Header{
			"Forwarded": {`for="10.0.0.9`}, "X-Forwarded-For": {" "}, "Accept": {"*/*"},
		}, fresh("10.0.0.1", "for=10.0.0.1")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := Forwarder{Trusted: tt.trusted, Scheme: "https"}
			req := &http.Request{Header: tt.in, Host: "app.example:8443", RemoteAddr: tt.remote}
			out := tt.in.Clone()
			h.Apply(out, req)
			if diff := cmp.Diff(tt.want, out); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForwardedPort(t *testing.T) {
	for host, want := range map[string]string{"a.example": "443", "a.example:80": "80", "[::1]": "443", "[::1]:8443": "8443"} {
		out := http.Header{}
		(&Forwarder{Scheme: "https"}).Apply(out, &http.Request{Host: host, RemoteAddr: "192.0.2.1:1"})
		if got := out.Get("X-Forwarded-Port"); got != want {
			t.Errorf("%s: port %s, want %s", host, got, want)
		}
	}
}

func TestRealClient(t *testing.T) {
	h := Forwarder{Trusted: prefixes("10.0.0.0/8", "2001:db8::/32")}
	tests := []struct{ chain, want string }{
		{"", "10.0.0.1"},
		{"192.0.2.1", "192.0.2.1"},
		{"6.6.6.6, 192.0.2.1", "192.0.2.1"}, // whoever 192.0.2.1 says it is
		{"192.0.2.1, 10.1.1.1", "192.0.2.1"},
		{"192.0.2.1:4711", "192.0.2.1"},
		{"192.0.2.1, [2001:db8::1]:80", "192.0.2.1"},
		{"192.0.2.1, 2001:db8::1", "192.0.2.1"},
		{"10.2.2.2, 10.1.1.1", "10.2.2.2"},
		{"192.0.2.1, unknown", "10.0.0.1"},
		{"192.0.2.1, unknown, 10.1.1.1", "10.1.1.1"},
		{",,,", "10.0.0.1"},
	}
	for _, tt := range tests {
		if got := h.client(tt.chain, netip.MustParseAddr("10.0.0.1")); got.String() != tt.want {
			t.Errorf("%q: got %s, want %s", tt.chain, got, tt.want)
		}
	}
}

func TestDropped(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Forwarded-For": true, "X_Forwarded_For": true, "x.forwarded.for": true, "X-Forwarded_host": true,
		"X-Forwarded-Anything": true, "X-Forwarded": true, "Forwarded": true, "FORWARDED": true,
		"X-Real-Ip": true, "X_real_ip": true, "True-Client-Ip": true, "X-Client-Ip": true, "X-Client-Cert-Cn": true,
		"X_client_cert_verified": true, "X-Client-Cert": true, "Client-Cert": true, "Client_Cert": true, "X-Ssl-Client-Cn": true, "Proxy": true,
		"Transfer_Encoding": true, "Content_Length": true, "Content.Length": true, "Host_": false, "Up_grade": false,
		"Transfer-Encoding": false, "Content-Length": false, "Content-Type": false, "Content_Type": false,
		"X-Forward": false, "X-Forwardedfor": false, "Forwarded-For": false, "X-Requested-With": false, "Proxy-Thing": false, "": false,
	} {
		if got := Dropped(name); got != want {
			t.Errorf("%q dropped: %v, want %v", name, got, want)
		}
	}
}

// FuzzDropped: however a name is spelt, what CGI would make the same variable
// of is dropped alike.
func FuzzDropped(f *testing.F) {
	f.Add("x_FORWARDED.for")
	f.Fuzz(func(t *testing.T, name string) {
		cgi := []byte(name)
		for i, c := range cgi {
			if fold(c) == '-' {
				cgi[i] = '-'
			}
		}
		canonical := strings.ToLower(string(cgi))
		if Dropped(canonical) && !Dropped(name) {
			t.Errorf("%q is passed on, %q is not", name, canonical)
		}
	})
}

func TestValidForwarded(t *testing.T) {
	for text, want := range map[string]bool{
		"for=1.2.3.4":                           true,
		`for="[::1]:80";proto=https;by=_x`:      true,
		`for=a, for=b;host="x\"y", for=unknown`: true,
		"for=a ,for=b":                          true,
		"":                                      false,
		"for":                                   false,
		"for=":                                  false,
		"=a":                                    false,
		`for="a`:                                false,
		`for="a\"`:                              false,
		"for=a;":                                false,
		"for=a,":                                false,
		"for=a b":                               false,
		"for=::1":                               false,
		`for=a, "`:                              false,
		"for=a;;proto=b":                        false,
		`for="a"b`:                              false,
		strings.Repeat("for=a,", 1000) + "for=\"": false,
	} {
		if got := validForwarded(text); got != want {
			t.Errorf("%.40q valid: %v, want %v", text, got, want)
		}
	}
}

// FuzzValidForwarded: whatever is believed, an element added to it is an
// element of its own.
func FuzzValidForwarded(f *testing.F) {
	f.Add(`for="[::1]:80";proto=https, for=b`)
	f.Add(`for="a\"", for=c`)
	f.Fuzz(func(t *testing.T, text string) {
		if !validForwarded(text) {
			return
		}
		const last = "for=192.0.2.1;proto=https"
		whole := appended(text, last)
		if !validForwarded(whole) {
			t.Errorf("%q is valid, %q is not", text, whole)
		}
		if !strings.HasSuffix(whole, ", "+last) || inQuotes(whole[:len(whole)-len(last)]) {
			t.Errorf("%q swallows what is added to it", text)
		}
	})
}

func inQuotes(s string) bool {
	in := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			in = !in
		case s[i] == '\\' && in:
			i++
		}
	}
	return in
}

func FuzzParseHop(f *testing.F) {
	f.Add("[2001:db8::1]:80")
	f.Add("192.0.2.1:80")
	f.Fuzz(func(t *testing.T, text string) {
		if addr := parseHop(text); addr.IsValid() && (addr.Zone() != "" || addr.Is4In6()) {
			t.Errorf("%q is %s", text, addr)
		}
	})
}

// BenchmarkHeaders is a proxy's own work on each request's headers.
func BenchmarkHeaders(b *testing.B) {
	h := Forwarder{Trusted: prefixes("10.0.0.0/8"), Scheme: "https"}
	req := (&http.Request{
		Header: http.Header{"Accept": {"*/*"}, "User-Agent": {"curl"}, "Cookie": {"a=b"}, "X-Forwarded-For": {"1.2.3.4"}, "Accept-Encoding": {"gzip"}},
		Host:   "app.example", RemoteAddr: "192.0.2.1:1234",
	}).WithContext(context.Background())
	b.ReportAllocs()
	for b.Loop() {
		out := req.Header.Clone()
		h.Apply(out, req)
	}
}
