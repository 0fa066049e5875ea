package images_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"distlab/lab/internal/hint"
	"distlab/lab/internal/images"
)

// serve runs a registry on loopback, which engines use without TLS, and returns its address.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return listener.Addr().String()
}

// registry serves one image of one layer, as docker.io would, under any name with the tag 1.
func registry(t *testing.T, arch string) http.Handler {
	t.Helper()
	var plain, layer bytes.Buffer
	file := make([]byte, 1<<20)
	rand.Read(file)
	archive := tar.NewWriter(&plain)
	archive.WriteHeader(&tar.Header{Name: "file", Size: int64(len(file)), Mode: 0o644})
	archive.Write(file)
	archive.Close()
	zipped := gzip.NewWriter(&layer)
	zipped.Write(plain.Bytes())
	zipped.Close()

	config := fmt.Appendf(nil, `{"architecture":%q,"os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`,
		arch, digest(plain.Bytes()))
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":%q},
"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%d,"digest":%q}]}`,
		len(config), digest(config), layer.Len(), digest(layer.Bytes()))
	blobs := map[string][]byte{digest(config): config, digest(layer.Bytes()): layer.Bytes()}

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		content, kind := blobs[name], "application/octet-stream"
		if strings.Contains(r.URL.Path, "/manifests/") && (name == "1" || name == digest(manifest)) {
			content, kind = manifest, "application/vnd.docker.distribution.manifest.v2+json"
		}
		switch {
		case r.URL.Path == "/v2/":
		case content == nil:
			w.WriteHeader(http.StatusNotFound)
			json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}}})
		default:
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Docker-Content-Digest", digest(content))
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			if r.Method != http.MethodHead {
				w.Write(content)
			}
		}
	})
}

func digest(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

func TestPull(t *testing.T) {
	docker := engine(t)
	root := repo(t, docker)
	host := serve(t, registry(t, runtime.GOARCH))
	im := &images.Images{Root: root, Docker: docker}

	ref := host + "/some/thing:1"
	t.Cleanup(func() { remove(t, docker, ref) })
	env, err := im.Ensure(t.Context(), []images.Need{{Ref: ref, Variable: "THING_IMAGE"}})
	if err != nil || len(env) != 0 {
		t.Fatalf("environment %v, error %v", env, err)
	}
	if !exists(t, docker, ref) {
		t.Error("the image was not pulled")
	}

	// A registry that says no is believed: a wrong tag must not end in another image.
	write(t, root, "scripts/debian/thing.recipe", "# a recipe\n")
	_, err = im.Ensure(t.Context(), []images.Need{{Ref: host + "/some/thing:2", Variable: "THING_IMAGE", Recipe: "thing"}})
	if err == nil || !strings.Contains(err.Error(), "pull "+host+"/some/thing:2") || !strings.Contains(hint.Of(err), "docker login "+host) {
		t.Errorf("an unknown tag: %v\nhint: %s", err, hint.Of(err))
	}
	// And it is still asked for others.
	remove(t, docker, ref)
	if _, err := im.Ensure(t.Context(), []images.Need{{Ref: ref}}); err != nil {
		t.Errorf("after an unknown tag: %v", err)
	}
}

// TestPullFromSilence has a registry that says nothing at all, and one that stops in the middle.
func TestPullFromSilence(t *testing.T) {
	docker := engine(t)
	whole := registry(t, runtime.GOARCH)
	const patience = 300 * time.Millisecond
	for _, test := range []struct {
		name, from string
		after      time.Duration
	}{
		{"at once", "/v2/", patience},
		{"in the middle", "/v2/some/thing/blobs/", 6 * patience},
	} {
		t.Run(test.name, func(t *testing.T) {
			quiet := make(chan struct{})
			host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, test.from) {
					<-quiet
				}
				whole.ServeHTTP(w, r)
			}))
			t.Cleanup(func() { close(quiet) })
			im := &images.Images{Root: t.TempDir(), Docker: docker, Patience: patience}
			for try := range 2 { // the second time from memory
				start := time.Now()
				_, err := im.Ensure(t.Context(), []images.Need{{Ref: host + "/some/thing:1"}})
				if err == nil || !strings.Contains(err.Error(), "no answer from "+host+": nothing within "+test.after.String()) {
					t.Errorf("a silent registry: %v", err)
				}
				took := time.Since(start)
				if early := try == 0 && took < test.after; early || took > test.after+5*time.Second {
					t.Errorf("a silent registry was waited for %s, not %s", took, test.after)
				}
			}
		})
	}
}
