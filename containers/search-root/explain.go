package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// colours of what came of an attempt.
var colours = map[string]string{won: "#2e7d32", lost: "#b0bec5", failed: "#c62828", late: "#ef6c00"}

// draw shows a search as a picture: a line for each attempt, from when it was begun to its end.
func draw(res *Result) []byte {
	const left, width, row = 250, 600, 18
	height := 60 + row*len(res.Attempts)
	span := max(res.Millis, 1)
	x := func(at float64) float64 { return left + width*min(max(at/span, 0), 1) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"`, left+width+120, height)
	fmt.Fprintln(&b, ` font-family="monospace" font-size="11">`)
	said := fmt.Sprintf("%d of %d shards, %d documents match, %.1f ms",
		res.Shards.Answered, res.Shards.Total, res.Matched, res.Millis)
	if res.Partial {
		said += fmt.Sprintf("; %.1f %% of the documents are missing", 100*res.Share)
	}
	fmt.Fprintf(&b, `<text x="8" y="16" font-size="13">%s</text>`+"\n", escape(said))
	for i, a := range res.Attempts {
		y := 30 + row*i
		who := fmt.Sprintf("shard %d  %.20s  %s", a.Shard, a.Replica, a.Kind)
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text>`, y+12, escape(who))
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="12" fill="%s"><title>%s</title></rect>`,
			x(a.Begin), y+2, max(x(a.End)-x(a.Begin), 1), colours[a.Outcome], escape(a.Error))
		what := fmt.Sprintf("%s %.1f ms", a.Outcome, a.End-a.Begin)
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", left+width+8, y+12, escape(what))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">0</text>`, left, height-8)
	fmt.Fprintf(&b, `<text x="%d" y="%d">%.0f ms</text>`+"\n</svg>\n", left+width-40, height-8, span)
	return b.Bytes()
}

func escape(text string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(text)) // a buffer takes all
	return b.String()
}
