package cli

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"distlab/lab/internal/images"

	"distlab/lab/internal/public"
)

// TestNames holds the names in what programs read. They are a promise: a change here breaks somebody's script.
// What `list` and `explain` print is held whole, in testdata/script.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		verb string
		v    any
		want string
	}{
		{
			"status",
			[]public.Stack{{Lab: "sidecar/tls", Endpoints: []public.Address{{Service: "pod", Port: 8443}}}},
			`[{"lab":"sidecar/tls","instance":"","variant":"","state":"","endpoints":[{"service":"pod","port":8443,"address":"","url":""}]}]`,
		},
		{
			"images", imagesJSON([]images.Need{{Ref: "store:1.2", State: images.ToPull, Labs: []string{"sidecar/tls"}}}),
			`[{"image":"store:1.2","state":"to pull","use":"","container":"","variable":"","recipe":"","labs":["sidecar/tls"],"detail":""}]`,
		},
		{"images of nothing", imagesJSON(nil), `[]`},
		{
			"doctor",
			[]finding{good("a", "b"), warn("c", "r", "d"), bad("e", "r", "f")},
			`[{"id":"a","status":"ok","fact":"b","remedy":""},{"id":"c","status":"warn","fact":"d","remedy":"r"},` +
				`{"id":"e","status":"fail","fact":"f","remedy":"r"}]`,
		},
	} {
		data, err := json.Marshal(c.v)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, string(data)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.verb, diff)
		}
	}
}

// TestJSON does not mangle what people read.
func TestJSON(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out}
	if err := a.json("a < b & c → d"); err != nil || out.String() != "\"a < b & c → d\"\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
