package http1

import (
	"bytes"
	"strconv"
	"time"
)

// Response is the head of a plain answer, as places in the buffer that it was
// parsed from. See Request.
type Response struct {
	Status  int
	Length  int64 // of the body
	Chunked bool  // the body is chunked instead
	Size    int   // of the head
	Close   bool  // the app closes the connection after it

	buf     []byte
	reason  span
	pass    lines
	hasDate bool
	hasLen  bool
}

// Parse reads the head at the start of buf, of the answer to a HEAD request or
// to another.
func (r *Response) Parse(buf []byte, head bool) Verdict {
	*r = Response{Size: headLen(buf)}
	if r.Size == 0 {
		return r.part(buf)
	}
	r.buf = buf[:r.Size]
	i := r.statusLine()
	if i == 0 {
		return Unusual
	}
	var seen [rareField + 1]bool
	for count := 0; i < r.Size-2; count++ {
		name, value, next := line(r.buf, i)
		if next == 0 || count == maxLines {
			return Unusual
		}
		f := fieldOf(r.buf[name.from:name.to])
		once := f == lengthField || f == codingField || f == connectionField || f == dateField
		if once && seen[f] || !r.take(f, r.buf[value.from:value.to], i, next) {
			return Unusual
		}
		seen[f] = true
		i = next
	}
	r.hasDate, r.hasLen = seen[dateField], seen[lengthField]
	if r.hasLen && r.Chunked || seen[pragmaField] && !seen[cacheField] {
		return Unusual
	}
	return r.body(head)
}

// part is Unusual if no plain head begins like this: what has come may be all that
// comes, for those who see its end elsewhere, or see at once that it is none.
func (r *Response) part(buf []byte) Verdict {
	if n := min(len(buf), len(statusBegins)); string(buf[:n]) != statusBegins[:n] {
		return Unusual
	}
	r.buf = buf[:bytes.LastIndexByte(buf, '\n')+1]
	for i := range r.buf {
		if r.buf[i] == '\n' && r.buf[i-1] != '\r' {
			return Unusual
		}
	}
	if len(r.buf) == 0 {
		return Part
	}
	i := r.statusLine()
	if i == 0 {
		return Unusual
	}
	for i < len(r.buf) {
		if _, _, i = line(r.buf, i); i == 0 {
			return Unusual
		}
	}
	return Part
}

// body settles what follows the head.
func (r *Response) body(head bool) Verdict {
	switch {
	case r.Status == 204 || r.Status == 304:
		if r.hasLen || r.Chunked {
			return Unusual
		}
	case !r.hasLen && !r.Chunked:
		return Unusual // its end is the connection's
	case head:
		if r.Chunked {
			return Unusual
		}
	}
	return Plain
}

// take decides on one header.
func (r *Response) take(f field, value []byte, from, to int) bool {
	switch f {
	case hopField:
		return true
	case lengthField:
		r.Length = lengthOf(value)
		return r.Length >= 0
	case codingField:
		r.Chunked = is(value, "chunked")
		return r.Chunked
	case connectionField:
		r.Close = is(value, "close")
		return r.Close || is(value, "keep-alive")
	case rareField:
		return false
	}
	return r.pass.add(from, to)
}

// statusBegins is how a plain answer begins.
const statusBegins = "HTTP/1.1 "

// statusLine returns where the next line begins; 0: unusual. Informational
// answers and switches to another protocol are.
func (r *Response) statusLine() int {
	const begins = len(statusBegins)
	if !bytes.HasPrefix(r.buf, []byte(statusBegins)) || len(r.buf) < begins+len("200 \r\n") {
		return 0
	}
	r.Status = int(lengthOf(r.buf[begins : begins+3]))
	i := begins + 3
	if r.Status < 200 || r.Status > 599 || r.buf[i] != ' ' {
		return 0
	}
	from := i + 1
	for i++; inValueSet[r.buf[i]]; i++ {
	}
	if r.buf[i] != '\r' || r.buf[i+1] != '\n' {
		return 0
	}
	r.reason = span{from, i}
	return i + 2
}

// AppendTo writes the head that goes on to the client, with extra, whole header
// lines. date is the Date header for an app that gives none, a whole line;
// last says that the connection is closed after the answer.
func (r *Response) AppendTo(dst, extra, date []byte, last bool) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.buf[r.reason.from:r.reason.to]...)
	dst = append(dst, "\r\n"...)
	dst = r.pass.appendTo(dst, r.buf)
	if !r.hasDate {
		dst = append(dst, date...)
	}
	switch {
	case r.hasLen:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, r.Length, 10)
		dst = append(dst, "\r\n"...)
	case r.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if last {
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = append(dst, extra...)
	return append(dst, "\r\n"...)
}

// Has is true if there is such a header.
func (r *Response) Has(name string) bool {
	i := bytes.IndexByte(r.buf, '\n') + 1
	for i < r.Size-2 {
		n, _, next := line(r.buf, i)
		if bytes.EqualFold(r.buf[n.from:n.to], []byte(name)) {
			return true
		}
		i = next
	}
	return false
}

// AppendDate writes a Date header as a line.
func AppendDate(dst []byte, t time.Time) []byte {
	dst = append(dst, "Date: "...)
	dst = t.UTC().AppendFormat(dst, "Mon, 02 Jan 2006 15:04:05 GMT")
	return append(dst, "\r\n"...)
}
