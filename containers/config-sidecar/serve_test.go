package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// serve answers every request with a text.
func serve(t *testing.T, text func() string) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text()) }))
	t.Cleanup(srv.Close)
	return srv.URL
}
