package main

import (
	"crypto/subtle"
	"net/http"
	"strings"
)

func safe(method string) bool {
	return method == http.MethodOptions || method == "PROPFIND" || method == "REPORT" || method == "SEARCH"
}

// invalidate forgets what an unsafe request has changed: its own target, and what its answer names on the same host
// (RFC 9111 section 4.4).
func (c *Cache) invalidate(r *request, h http.Header) {
	c.Store.Purge(r.key)
	for _, name := range []string{"Location", "Content-Location"} {
		if at := h.Get(name); at != "" {
			u, err := r.Request.URL.Parse(at)
			if err != nil || u.Host != "" && !strings.EqualFold(u.Host, r.Request.Host) {
				continue
			}
			c.Store.Purge(keyOf(r.Out, u.RequestURI()))
		}
	}
}

// purge forgets the request's target, or all that has the tags that its Cache-Tag names.
func (c *Cache) purge(r *request) {
	r.result = "purge"
	token, bearer := strings.CutPrefix(r.Request.Header.Get("Authorization"), "Bearer ")
	if c.Token == "" || !bearer || subtle.ConstantTimeCompare([]byte(token), []byte(c.Token)) != 1 {
		c.Metrics.refused.WithLabelValues("purge").Inc()
		r.Header().Set("Www-Authenticate", "Bearer")
		r.Fail(http.StatusUnauthorized, "PURGE takes the token")
		return
	}
	n := 0
	tags := tagsOf(r.Request.Header)
	for _, tag := range tags {
		n += c.Store.PurgeTag(tag)
	}
	if len(tags) == 0 {
		// With whatever scheme it was asked for: who purges stands on this side of the TLS.
		for _, scheme := range []string{"http", "https"} {
			r.Out.Header["X-Forwarded-Proto"] = []string{scheme}
			n += c.Store.Purge(keyOf(r.Out, r.Target))
		}
	}
	c.Metrics.purged.WithLabelValues(map[bool]string{true: "tag", false: "url"}[len(tags) > 0]).Add(float64(n))
	c.Log.Info("purged", "target", r.Target, "host", r.Out.Host, "tags", tags, "objects", n)
	h := r.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	r.WriteHeader(http.StatusOK)
	r.Write([]byte(plural(n)))
}
