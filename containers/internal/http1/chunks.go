package http1

import (
	"errors"
	"strconv"
)

// ErrChunks is a chunked body that no chunk can be read from.
var ErrChunks = errors.New("malformed chunked body")

// Chunks reads the chunked body of an answer as it arrives. It gives the data
// without the chunks; AppendChunk makes new ones, so that no extension and no
// padding goes on. The zero value is at the start of a body.
type Chunks struct {
	state   chunkState
	left    int64
	digits  int
	line    int
	trailer []byte // what has come of the trailer section
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkPadding
	chunkExtension
	chunkSizeLF
	chunkData
	chunkCR
	chunkLF
	chunkTrailer
	chunksDone
)

// Next reads p up to and with the next data, or to its end. n is how much of p it
// has read, data a part of that. After the last chunk Done is true, and no
// more is read.
func (c *Chunks) Next(p []byte) (data []byte, n int, err error) {
	for n < len(p) && c.state != chunksDone {
		b := p[n]
		switch c.state {
		case chunkData:
			k := int(min(int64(len(p)-n), c.left))
			data = p[n : n+k]
			if c.left -= int64(k); c.left == 0 {
				c.state = chunkCR
			}
			return data, n + k, nil
		case chunkTrailer:
			c.trailer = append(c.trailer, b)
			if len(c.trailer) > maxTrailer {
				return nil, n, ErrChunks
			}
			if b == '\n' && c.endOfTrailer() {
				c.state = chunksDone
			}
		default:
			if !c.step(b) {
				return nil, n, ErrChunks
			}
		}
		n++
	}
	return nil, n, nil
}

// step reads a byte between the data.
func (c *Chunks) step(b byte) bool {
	if c.line++; c.line > maxChunkLine {
		return false
	}
	switch c.state {
	case chunkSize, chunkPadding:
		switch d := hexValue(b); {
		case d >= 0 && c.state == chunkSize && c.digits < 15:
			c.left = c.left<<4 | int64(d)
			c.digits++
		case c.digits == 0:
			return false
		case b == '\r':
			c.state = chunkSizeLF
		case b == ';':
			c.state = chunkExtension
		case b == ' ' || b == '\t':
			c.state = chunkPadding // old servers write sizes of one width
		default:
			return false
		}
	case chunkExtension:
		if b == '\r' {
			c.state = chunkSizeLF
		}
		return b == '\r' || inValueSet[b]
	case chunkSizeLF:
		c.state = chunkData
		if c.left == 0 {
			c.state = chunkTrailer
		}
		return b == '\n'
	case chunkCR:
		c.state = chunkLF
		return b == '\r'
	case chunkLF:
		*c = Chunks{}
		return b == '\n'
	}
	return true
}

// endOfTrailer is true if the section's last line is empty.
func (c *Chunks) endOfTrailer() bool {
	n := len(c.trailer)
	return string(c.trailer) == "\r\n" || n >= 4 && string(c.trailer[n-4:]) == "\r\n\r\n"
}

// InData is true where the next byte is data, and not part of the chunking.
func (c *Chunks) InData() bool { return c.state == chunkData }

// Done is true after the body.
func (c *Chunks) Done() bool { return c.state == chunksDone }

// AppendEnd writes the last chunk, with the trailers, of which those that say
// how a message is delimited or who it is for are left out.
func (c *Chunks) AppendEnd(dst []byte) ([]byte, error) {
	dst = append(dst, "0\r\n"...)
	for i := 0; i < len(c.trailer)-2; {
		name, _, next := line(c.trailer, i)
		if next == 0 {
			return dst, ErrChunks
		}
		if fieldOf(c.trailer[name.from:name.to]) == passField {
			dst = append(dst, c.trailer[i:next]...)
		}
		i = next
	}
	return append(dst, "\r\n"...), nil
}

// AppendChunk writes data as one chunk.
func AppendChunk(dst, data []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(data)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}
