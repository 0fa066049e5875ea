package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Webhook has a forge say that something was pushed. What it sends is not looked at: the remote itself says what is
// there.
type Webhook struct {
	Token  string
	Called func()
}

// maxPayload is GitHub's own bound.
const maxPayload = 25 << 20

func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/webhook":
		http.NotFound(w, r)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST, please", http.StatusMethodNotAllowed)
	case h.Token == "":
		http.Error(w, "no WEBHOOK_TOKEN is set, so nobody may call", http.StatusForbidden)
	case !h.knows(w, r):
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "a wrong token, or none", http.StatusUnauthorized)
	default:
		h.Called()
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, "looking")
	}
}

// knows says whether the caller has the token: as curl sends it, as GitLab, or as GitHub, Gitea and Forgejo sign
// with it.
func (h *Webhook) knows(w http.ResponseWriter, r *http.Request) bool {
	if signature, ok := strings.CutPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256="); ok {
		got, err := hex.DecodeString(signature)
		mac := hmac.New(sha256.New, []byte(h.Token))
		if _, copied := io.Copy(mac, http.MaxBytesReader(w, r.Body, maxPayload)); copied != nil || err != nil {
			return false
		}
		return hmac.Equal(got, mac.Sum(nil))
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		token = r.Header.Get("X-Gitlab-Token")
	}
	// The digests are compared: they are of one length, so that not even the token's can be measured.
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(h.Token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
