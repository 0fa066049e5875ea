package http1

import (
	"errors"
	"strings"
)

// ErrFraming is what every refusal of the framing scanner wraps.
var ErrFraming = errors.New("ambiguous HTTP/1 framing")

// FramingError names the rule that a client broke. It is a label of a metric:
// one of a few constants, never what the client sent.
type FramingError string

func (e FramingError) Error() string { return ErrFraming.Error() + ": " + string(e) }
func (e FramingError) Unwrap() error { return ErrFraming }

// maxChunkLine bounds a chunk's size line with its extensions, and maxTrailer
// the trailer section: net/http has no setting for either.
const (
	maxChunkLine = 1 << 10
	maxTrailer   = 8 << 10
)

// Framing follows the requests of one HTTP/1 connection byte by byte, and
// refuses what two readers could delimit differently: the raw material of
// request smuggling. It runs in front of net/http, which tolerates (and tidies
// up, invisibly to a handler) both lengths at once, repeated lengths, folded
// lines, bare line feeds and Transfer-Encoding in HTTP/1.0. It holds nothing
// back and keeps no bytes, only its place. The zero value is at the start of a
// connection.
//
// Source: RFC 9112 sections 2.2, 5, 6 and 11.2.
type Framing struct {
	state  framingState
	line   int  // bytes of this request line part, chunk line or trailer section
	spaces int  // seen in the request line
	http10 bool // the version is 1.0
	tail   [8]byte
	tailN  int // length of the version

	name    [20]byte // lower-case name of the header line, as far as it fits
	nameN   int
	field   headerField
	trailer bool // the lines read are a trailer section

	value   [9]byte // of Transfer-Encoding, as far as it fits
	valueN  int
	digits  int
	ended   bool // Content-Length: white space after the digits
	length  int64
	hasLen  bool
	chunked bool
	hosts   int
	upgrade bool // the request asks for another protocol
	left    int64
}

type framingState uint8

const (
	inRequestLine framingState = iota
	inRequestLineLF
	inLineStart
	inName
	inValue
	inValueLF
	inEndLF
	inBody
	inChunkSize
	inChunkExt
	inChunkSizeLF
	inChunk
	inChunkCR
	inChunkLF
)

type headerField uint8

const (
	otherField headerField = iota
	contentLength
	transferEncoding
	hostField
	upgradeField
)

// Scan follows p. n is how many bytes are beyond doubt; on an error p[n] is
// the first that is not. It stops after a request with an Upgrade header,
// upgrade true: what follows may be another protocol; and before an empty line
// between two requests, for whoever takes those out.
func (f *Framing) Scan(p []byte) (n int, upgrade bool, err error) {
	for n < len(p) {
		switch f.state {
		case inBody, inChunk:
			k := min(int64(len(p)-n), f.left)
			n += int(k)
			if f.left -= k; f.left > 0 {
				return n, false, nil
			}
			if f.state == inChunk {
				f.state = inChunkCR
				continue
			}
			if f.endRequest() {
				return n, true, nil
			}
			if n < len(p) && p[n] == '\r' {
				return n, false, nil
			}
		default:
			done, err := f.step(p[n])
			if err != nil {
				return n, false, err
			}
			n++
			if done && f.endRequest() {
				return n, true, nil
			}
			if done && n < len(p) && p[n] == '\r' {
				return n, false, nil
			}
		}
	}
	return n, false, nil
}

// Fresh is true before a request: nothing of it has come.
func (f *Framing) Fresh() bool { return f.state == inRequestLine && f.line == 0 && f.spaces == 0 }

// InHead is false inside a body: there a refusal is an error of the body.
func (f *Framing) InHead() bool { return f.state <= inEndLF && !f.trailer }

// endRequest starts over; it is true if the protocol may change here.
func (f *Framing) endRequest() (upgrade bool) {
	upgrade = f.upgrade
	*f = Framing{}
	return upgrade
}

// step follows one byte; done means that it was a request's last.
func (f *Framing) step(b byte) (done bool, err error) {
	switch f.state {
	case inRequestLine:
		return false, f.requestLine(b)
	case inRequestLineLF, inValueLF:
		if b != '\n' {
			return false, FramingError("bare carriage return")
		}
		f.state = inLineStart
	case inLineStart:
		return false, f.lineStart(b)
	case inName:
		return false, f.nameByte(b)
	case inValue:
		return false, f.valueByte(b)
	case inEndLF:
		if b != '\n' {
			return false, FramingError("bare carriage return")
		}
		return f.endHead(), nil
	case inChunkSize, inChunkExt:
		return false, f.chunkLine(b)
	case inChunkSizeLF:
		if b != '\n' {
			return false, FramingError("bare carriage return")
		}
		f.line = 0
		if f.left > 0 {
			f.state = inChunk
		} else {
			f.state, f.trailer = inLineStart, true
		}
	case inChunkCR:
		if b != '\r' {
			return false, FramingError("chunk longer than its size")
		}
		f.state = inChunkLF
	case inChunkLF:
		if b != '\n' {
			return false, FramingError("bare carriage return")
		}
		f.startChunk()
	}
	return false, nil
}

// requestLine wants exactly: method SP target SP HTTP/1.x. A higher minor version
// than ours is ours (RFC 9110 section 2.5).
func (f *Framing) requestLine(b byte) error {
	switch {
	case b == ' ':
		if f.spaces++; f.spaces > 2 || f.line == 0 {
			return FramingError("request line")
		}
		f.line = 0
		return nil
	case b == '\r' && f.spaces == 2:
		version := string(f.tail[:f.tailN])
		if len(version) != len("HTTP/1.1") || version[:7] != "HTTP/1." || version[7] < '0' || version[7] > '9' {
			return FramingError("request line")
		}
		f.http10 = version[7] == '0'
		f.state = inRequestLineLF
		return nil
	case b == '\n':
		return FramingError("bare line feed")
	case b < 0x21 || b == 0x7f:
		return FramingError("request line")
	case f.spaces == 0 && !isToken(b):
		return FramingError("request line")
	case f.spaces == 2:
		if f.tailN == len(f.tail) {
			return FramingError("request line")
		}
		f.tail[f.tailN] = b
		f.tailN++
	}
	f.line++
	return nil
}

func (f *Framing) lineStart(b byte) error {
	switch {
	case b == '\r':
		f.state = inEndLF
		return nil
	case b == ' ' || b == '\t':
		return FramingError("folded line")
	case b == '\n':
		return FramingError("bare line feed")
	}
	f.state, f.nameN = inName, 0
	if b == ':' {
		return FramingError("header name")
	}
	return f.nameByte(b)
}

func (f *Framing) nameByte(b byte) error {
	if b == ':' && f.nameN > 0 {
		return f.startValue()
	}
	if !isToken(b) {
		return FramingError("header name")
	}
	if f.nameN < len(f.name) {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		f.name[f.nameN] = b
		f.nameN++
	}
	return f.countTrailer()
}

// startValue knows the header's name, and refuses those that contradict one
// before it.
func (f *Framing) startValue() error {
	f.state, f.field = inValue, otherField
	switch string(f.name[:f.nameN]) {
	case "content-length":
		f.field, f.length, f.digits, f.ended = contentLength, 0, 0, false
		switch {
		case f.hasLen:
			return FramingError("repeated Content-Length")
		case f.chunked:
			return FramingError("Content-Length with Transfer-Encoding")
		}
		f.hasLen = true
	case "transfer-encoding":
		f.field, f.valueN = transferEncoding, 0
		switch {
		case f.chunked:
			return FramingError("repeated Transfer-Encoding")
		case f.hasLen:
			return FramingError("Content-Length with Transfer-Encoding")
		case f.http10:
			return FramingError("Transfer-Encoding in HTTP/1.0")
		}
		f.chunked = true
	case "host":
		f.field = hostField
		if f.hosts++; f.hosts > 1 {
			return FramingError("repeated Host")
		}
	case "upgrade":
		f.field, f.upgrade = upgradeField, true
	}
	if f.trailer && f.field != otherField {
		return FramingError("forbidden trailer")
	}
	return nil
}

func (f *Framing) valueByte(b byte) error {
	switch {
	case b == '\r':
		f.state = inValueLF
		return f.endValue()
	case b == '\n':
		return FramingError("bare line feed")
	case b < 0x20 && b != '\t', b == 0x7f:
		return FramingError("control character")
	case f.field == contentLength:
		return f.lengthByte(b)
	case f.field == transferEncoding:
		// White space around it is not part of the value; inside it is.
		if (b == ' ' || b == '\t') && f.valueN == 0 {
			return nil
		}
		if f.valueN == len(f.value) && b != ' ' && b != '\t' {
			return FramingError("Transfer-Encoding other than chunked")
		}
		if f.valueN < len(f.value) {
			f.value[f.valueN] = b
			f.valueN++
		}
	}
	return f.countTrailer()
}

// lengthByte reads Content-Length: digits with white space around, nothing
// else. strconv would take a sign.
func (f *Framing) lengthByte(b byte) error {
	switch {
	case b == ' ' || b == '\t':
		f.ended = f.digits > 0
	case b < '0' || b > '9' || f.ended || f.digits == 18:
		return FramingError("Content-Length")
	default:
		f.length = f.length*10 + int64(b-'0')
		f.digits++
	}
	return nil
}

func (f *Framing) endValue() error {
	switch f.field {
	case contentLength:
		if f.digits == 0 {
			return FramingError("Content-Length")
		}
	case transferEncoding:
		if !strings.EqualFold(strings.TrimRight(string(f.value[:f.valueN]), " \t"), "chunked") {
			return FramingError("Transfer-Encoding other than chunked")
		}
	}
	return nil
}

// endHead is true if the request ends with its head, or with its trailers.
func (f *Framing) endHead() (done bool) {
	switch {
	case f.trailer:
		return true
	case f.chunked:
		f.startChunk()
	case f.length > 0:
		f.state, f.left = inBody, f.length
	default:
		return true
	}
	return false
}

func (f *Framing) startChunk() { f.state, f.left, f.digits, f.line = inChunkSize, 0, 0, 0 }

func (f *Framing) countTrailer() error {
	if f.trailer {
		if f.line++; f.line > maxTrailer {
			return FramingError("trailers too long")
		}
	}
	return nil
}

// chunkLine reads a chunk's size and skips its extensions: net/http does not
// forward them.
func (f *Framing) chunkLine(b byte) error {
	if f.line++; f.line > maxChunkLine {
		return FramingError("chunk line too long")
	}
	switch {
	case b == '\r' && f.digits > 0:
		f.state = inChunkSizeLF
	case b == '\n':
		return FramingError("bare line feed")
	case f.state == inChunkExt:
		if b < 0x20 && b != '\t' || b == 0x7f {
			return FramingError("control character")
		}
	case b == ';' && f.digits > 0:
		f.state = inChunkExt
	default:
		d := hexValue(b)
		if d < 0 || f.digits == 15 {
			return FramingError("chunk size")
		}
		f.left = f.left<<4 | int64(d)
		f.digits++
	}
	return nil
}
