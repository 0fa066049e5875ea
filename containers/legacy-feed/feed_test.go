package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestTrailerCounts(t *testing.T) {
	feed := &Feed{Format: "csv", Encoding: "utf-8", Records: 20, Faults: newFaults("bad"), Metrics: newMetrics(prometheus.NewRegistry())}
	w := httptest.NewRecorder()
	feed.ServeHTTP(w, httptest.NewRequest("GET", "/feed", nil))
	if !strings.HasSuffix(w.Body.String(), "\r\nENDE;22\r\n") {
		t.Errorf("it ends %q", w.Body.String()[max(0, w.Body.Len()-40):])
	}
}
