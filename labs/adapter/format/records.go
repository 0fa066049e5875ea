package format

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"distlab/lab/check"
)

// known are parts whose values are hard, as the API must tell them: the digits of the third and the fifth are in no number of
// floating point.
var known = map[string]string{
	"P-000001": `{"id":"P-000001","name":"Clé à molette","price":"5.13","stock":9007199254740993,"updated":"2002-02-02","active":true}`,
	"P-000002": `{"id":"P-000002","name":"Señal, Ø 12 mm","price":"0.30","stock":15838,"updated":"2003-03-03","active":true}`,
	"P-000003": `{"id":"P-000003","name":"Niño \"B\" - no, Ñ","price":"-12.34","stock":23757,"updated":"2004-04-04","active":false}`,
	"P-000004": `{"id":"P-000004","name":"Façade & Co <1>","price":"0.00","stock":31676,"updated":"2005-05-05","active":true}`,
	"P-000005": `{"id":"P-000005","name":"Bolt; M8","price":"9007199254740993.01","stock":39595,"updated":"2006-06-06","active":true}`,
}

// sameRecord compares the bytes of every part over the sources and over the ways to ask, and some with what they must be.
func sameRecord(m *check.M) check.Result {
	well(m)
	var ways check.Ways
	first, _ := all(m, feeds[0], 1000)
	m.Need(len(first) == parts && first[0] != first[1], "%d parts of %s", len(first), feeds[0])
	for _, f := range feeds {
		for _, limit := range []int{1000, 7} {
			got, _ := all(m, f, limit)
			ways.Way(fmt.Sprintf("%s, %d a page", f, limit)).Note(slices.Equal(got, first), "%d records, or others", len(got))
		}
		s := stream(m, f)
		ways.Way(f+" as a stream").Note(slices.Equal(s.records, first) && s.end != nil && !s.end.Partial, "%d records, or others", len(s.records))
		for id, want := range known {
			p := ask(m, "/records?source="+f+"&id="+id)
			ways.Way("known values of "+f).Note(len(p.Items) == 1 && string(p.Items[0].Record) == want, "%s: %s", id, p.http.Body)
		}
	}
	for id, want := range known {
		var one struct {
			item
			Also     []string
			Conflict bool
		}
		m.JSON(adapter, apiPort, "/records/"+id, &one)
		ways.Way("by key").Note(string(one.Record) == want && one.Source == feeds[0] && slices.Equal(one.Also, feeds[1:]) && !one.Conflict,
			"%s: %+v", id, one)
	}
	ways.Way("a key that nobody has").Note(m.Get(adapter, apiPort, "/records/P-999999").Status == http.StatusNotFound, "not 404")
	below := ask(m, "/records?price.lte=-0.01&limit=1000")
	ways.Way("a filter").Note(len(below.Items) == len(feeds) && string(below.Items[0].Record) == known["P-000003"], "%d below zero", len(below.Items))
	tagged := m.Get(adapter, apiPort, "/records")
	again := m.Get(adapter, apiPort, "/records", "If-None-Match", tagged.Header.Get("ETag"))
	ways.Way("its tag").Note(again.Status == http.StatusNotModified && len(again.Body) == 0, "%d", again.Status)
	fewer := m.Get(adapter, apiPort, "/records?limit=7", "If-None-Match", tagged.Header.Get("ETag"))
	ways.Way("its tag").Note(fewer.Status == http.StatusOK && fewer.Header.Get("ETag") != tagged.Header.Get("ETag"), "another answer has it, too: %d", fewer.Status)
	return ways.Decide()
}

// badRecord has each feed mix bad records with good ones, of four kinds.
func badRecord(m *check.M) check.Result {
	well(m)
	var ways check.Ways
	for _, f := range feeds {
		before, _ := all(m, f, 1000)
		f0 := ask(m, "/problems?source="+f)
		m.Need(f0.code == http.StatusOK && f0.Total == 0, "%s had %d problems before", f, f0.Total)
		fell := fault(m, f, "bad")
		after, last := all(m, f, 1000)
		told := ask(m, "/problems?source="+f)
		metric := m.Metric(adapter, adminPort, "format_adapter_source_bad_records", fmt.Sprintf("source=%q", f))
		m.Heal(fell)
		ways.Way(f+": good ones").Note(slices.Equal(before, after), "%d records, were %d", len(after), len(before))
		ways.Way(f+": counted").Note(last.of(f).Rejected == badOnes && told.Total == badOnes && metric == badOnes,
			"%+v, %d problems, %v by the metric", last.of(f), told.Total, metric)
		reasons := map[string]bool{}
		for i, p := range told.Problems {
			place := p.Record == 10+11*i && (p.Line == p.Record+1 || f == "catalog" && p.Line == p.Record+2 || f == "ledger" && p.Offset == 79*(p.Record-1))
			ways.Way(f+": told").Note(p.Source == f && place && p.Reason != "" && p.Detail != "" && p.Raw != "", "%+v", p)
			reasons[p.Reason] = true
		}
		ways.Way(f+": told").Note(len(reasons) == 4, "reasons %v", reasons)
	}
	return ways.Decide()
}

// encodings compares what the systems tell in other encodings.
func encodings(m *check.M) check.Result {
	well(m)
	var ways check.Ways
	want, _ := all(m, feeds[0], 1000)
	m.Need(strings.Contains(strings.Join(want, ""), "ß"), "no letter beyond ASCII")
	for _, name := range []string{
		"csv-utf-8", "csv-utf-8-bom", "csv-latin-1", "csv-utf-16-bom", "csv-utf-16", "xml-latin-1", "xml-utf-16", "fixed-utf-8",
	} {
		got, last := all(m, name, 1000)
		ways.Way(name).Note(slices.Equal(got, want) && last.of(name).Rejected == 0, "%d records, or others; %+v", len(got), last.of(name))
	}
	// Latin-1 under the name of UTF-8: what is ASCII alone is right, and the rest is told. Nothing is guessed.
	const wrong = "csv-mislabelled"
	got, last := all(m, wrong, 1000)
	for _, r := range got {
		ways.Way(wrong).Note(slices.Contains(want, r), "%s", r)
	}
	told := ask(m, "/problems?source="+wrong)
	reasons := map[string]int{}
	for _, p := range told.Problems {
		reasons[p.Reason]++
	}
	bad := reasons["encoding"]
	ways.Way(wrong).Note(bad > 0 && len(got)+bad == parts, "%d good, %+v, %v", len(got), last.of(wrong), reasons)
	return ways.Decide()
}

// newFormat adds a source by a file alone, and then a file that is wrong.
func newFormat(m *check.M) check.Result {
	well(m)
	var ways check.Ways
	want, _ := all(m, feeds[0], 1000)
	was := m.State(adapter)
	m.Need(ask(m, "/records?source=shop").code == http.StatusBadRequest, "the fourth source is there already")
	f := m.Write(adapter, map[string][]byte{"/more/shop.yaml": []byte(shop)})
	reloads := func(m *check.M) string {
		ok := m.Counter(adapter, adminPort, "format_adapter_reloads_total", `result="ok"`)
		refused := m.Counter(adapter, adminPort, "format_adapter_reloads_total", `result="refused"`)
		return fmt.Sprintf("%v reloads, %v refused", ok, refused)
	}
	m.Signal(adapter, "SIGHUP", reloads)
	got, _ := all(m, "shop", 1000)
	ways.Way("its records").Note(slices.Equal(got, want), "%d records, or others", len(got))
	listed := ask(m, "/records?limit=1000")
	ways.Way("beside the others").Note(listed.count("shop") == parts && len(listed.Sources) == len(feeds)+1, "%d, %+v", listed.count("shop"), listed.Sources)
	var api struct{ OpenAPI string }
	described := m.Get(adapter, apiPort, "/openapi.json")
	check.Must(json.Unmarshal(described.Body, &api))
	ways.Way("described").Note(api.OpenAPI == "3.1.0" && strings.Contains(string(described.Body), `"shop"`), "it is not in the API's description")
	bad := m.Write(adapter, map[string][]byte{"/more/worse.yaml": []byte("sources:\n  - {name: worse, format: runes, url: \"http://ledger:8080/feed\"}\n")})
	m.Signal(adapter, "SIGHUP", reloads)
	again, _ := all(m, "shop", 1000)
	ways.Way("after a bad file").Note(slices.Equal(again, want), "%d records, or others", len(again))
	m.Heal(bad)
	m.Heal(f)
	// No engine can remove a file: one without sources is as good as none.
	m.Write(adapter, map[string][]byte{"/more/shop.yaml": []byte("sources: []\n"), "/more/worse.yaml": []byte("sources: []\n")})
	m.Signal(adapter, "SIGHUP", reloads)
	ways.Way("taken away").Note(ask(m, "/records?source=shop").code == http.StatusBadRequest, "it is still there")
	now := m.State(adapter)
	ways.Way("without a restart").Note(now.StartedAt.Equal(was.StartedAt), "started at %v, was %v", now.StartedAt, was.StartedAt)
	return ways.Decide()
}
