package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWebhook(t *testing.T) {
	const token = "a token"
	sign := func(token, body string) string {
		mac := hmac.New(sha256.New, []byte(token))
		mac.Write([]byte(body))
		return "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	for name, c := range map[string]struct {
		method, path, body string
		header             [2]string
		token              string // of the server
		want               int
	}{
		"bearer":            {header: [2]string{"Authorization", "Bearer " + token}, want: 202},
		"gitlab":            {header: [2]string{"X-Gitlab-Token", token}, want: 202},
		"github":            {body: `{"ref":"main"}`, header: [2]string{"X-Hub-Signature-256", sign(token, `{"ref":"main"}`)}, want: 202},
		"github, empty":     {header: [2]string{"X-Hub-Signature-256", sign(token, "")}, want: 202},
		"no token":          {want: 401},
		"wrong":             {header: [2]string{"Authorization", "Bearer a tokem"}, want: 401},
		"longer":            {header: [2]string{"Authorization", "Bearer " + token + "x"}, want: 401},
		"part":              {header: [2]string{"Authorization", "Bearer a"}, want: 401},
		"basic":             {header: [2]string{"Authorization", "Basic " + token}, want: 401},
		"gitlab wrong":      {header: [2]string{"X-Gitlab-Token", "x"}, want: 401},
		"github wrong body": {body: "other", header: [2]string{"X-Hub-Signature-256", sign(token, "one")}, want: 401},
		"github wrong key":  {body: "one", header: [2]string{"X-Hub-Signature-256", sign("other", "one")}, want: 401},
		"github no hex":     {body: "one", header: [2]string{"X-Hub-Signature-256", "sha256=zz"}, want: 401},
		"github too large":  {body: strings.Repeat("x", maxPayload+1), header: [2]string{"X-Hub-Signature-256", sign(token, strings.Repeat("x", maxPayload+1))}, want: 401},
		"GET":               {method: "GET", header: [2]string{"Authorization", "Bearer " + token}, want: 405},
		"elsewhere":         {path: "/", header: [2]string{"Authorization", "Bearer " + token}, want: 404},
		"nobody may":        {token: "-", header: [2]string{"Authorization", "Bearer "}, want: 403},
	} {
		t.Run(name, func(t *testing.T) {
			called := 0
			h := &Webhook{Token: token, Called: func() { called++ }}
			if c.token == "-" {
				h.Token = ""
			}
			srv := httptest.NewServer(h)
			defer srv.Close()
			method, path := http.MethodPost, "/webhook"
			if c.method != "" {
				method = c.method
			}
			if c.path != "" {
				path = c.path
			}
			req, err := http.NewRequest(method, srv.URL+path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.header[0] != "" {
				req.Header.Set(c.header[0], c.header[1])
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			want := 0
			if c.want == 202 {
				want = 1
			}
			if resp.StatusCode != c.want || called != want {
				t.Errorf("status %d, want %d; called %d times, want %d", resp.StatusCode, c.want, called, want)
			}
		})
	}
}
