// Package pemfile reads certificates and keys from files in PEM, the whole of a file or nothing.
//
//	pair, err := pemfile.Pair(certificate, key)      // of bytes, or
//	pool, err := pemfile.Pool("/certs/clients.pem")  // of a file
//
// The standard library looks for what it can use and passes over the rest: of a chain whose intermediate was cut off half-way,
// tls.X509KeyPair makes a good pair with a chain that clients cannot verify, and CertPool.AppendCertsFromPEM is
// content with one authority of a bundle of ten. A file that is being written, or was copied by halves, is met by every
// program that reloads. So here each block that begins must end and be understood, as OpenSSL, and with it nginx and hitch, have it.
//
// Text outside of blocks is for people and is passed over (RFC 7468, section 2), but for what shows that a block was cut.
package pemfile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// MaxSize bounds what is read of a file: a path may name anything.
const MaxSize = 1 << 20

// Read reads a regular file of a sane size.
func Read(path string) ([]byte, error) {
	// Not opened before it is known to be a file: a pipe would block.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > MaxSize:
		return nil, fmt.Errorf("read %s: larger than 1 MiB", path)
	}
	return text, nil
}

// errEncrypted is not a bad file: it wants another one, and says how to make it.
var errEncrypted = errors.New("the private key is encrypted, and nobody is here to type its passphrase: " +
	"store it decrypted (openssl pkey -in KEY -out PLAIN), readable by this program's user alone")

const (
	begin = "-----BEGIN "
	end   = "-----END "
)

// Blocks are all blocks of a text. A block that has no end or no beginning, that is not what its encoding says, or that
// stands on the line on which the one before it ends, is an error.
func Blocks(text []byte) ([]*pem.Block, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // an editor's
	var blocks []*pem.Block
	rest := text
	for {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		// Decode passes over a block that it cannot read, and says nothing.
		if n := bytes.Count(rest[:len(rest)-len(after)], []byte(begin)); n != 1 {
			return nil, unreadable(len(blocks) + 1)
		}
		if i := bytes.Index(rest, []byte(end)); i < bytes.Index(rest, []byte(begin)) {
			return nil, fmt.Errorf("an end without a beginning before PEM block %d", len(blocks)+1)
		}
		blocks, rest = append(blocks, block), after
	}
	switch {
	case bytes.Contains(rest, []byte(begin)) || cutShort(rest):
		return nil, unreadable(len(blocks) + 1)
	case bytes.Contains(rest, []byte(end)):
		return nil, fmt.Errorf("an end without a beginning after %d PEM blocks", len(blocks))
	case bytes.ContainsFunc(text, notText): // zeros, after a crash: the file was longer than what was written
		return nil, errors.New("not a text in PEM: bytes in it are no text")
	}
	return blocks, nil
}

func unreadable(n int) error {
	return fmt.Errorf("PEM block %d is incomplete or cannot be read", n)
}

// cutShort says that a text ends within the line that begins a block.
func cutShort(rest []byte) bool {
	last := rest[bytes.LastIndexByte(rest, '\n')+1:]
	return len(last) > 0 && bytes.HasPrefix([]byte(begin), last)
}

func notText(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\n\v\f\r", r) }

// Certificates are those of a bundle, of which every block must be one.
func Certificates(text []byte) ([]*x509.Certificate, error) {
	blocks, err := Blocks(text)
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for i, block := range blocks {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %d is a %s, not a CERTIFICATE", i+1, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return list, nil
}

// Pool is the authorities of a file.
func Pool(path string) (*x509.CertPool, error) {
	text, err := Read(path)
	if err != nil {
		return nil, err
	}
	list, err := Certificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	pool := x509.NewCertPool()
	for _, c := range list {
		pool.AddCert(c)
	}
	return pool, nil
}

// Pair is a chain, the leaf first, with the leaf's key. Both texts may be the same one, which then holds both.
// The chain's certificates are all parsed: one that is garbled within its block is an error, too.
func Pair(cert, key []byte) (tls.Certificate, []*x509.Certificate, error) {
	var none tls.Certificate
	chain, err := chainOf(cert)
	if err != nil {
		return none, nil, err
	}
	private, err := keyOf(key)
	if err != nil {
		return none, nil, err
	}
	var ordered bytes.Buffer
	for _, c := range chain {
		ordered.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	pair, err := tls.X509KeyPair(ordered.Bytes(), pem.EncodeToMemory(private))
	if err != nil {
		for i, c := range chain[1:] {
			alone := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
			if _, err := tls.X509KeyPair(alone, pem.EncodeToMemory(private)); err == nil {
				return none, nil, fmt.Errorf("the private key does not match the first certificate but certificate %d, which must come first", i+2)
			}
		}
		return none, nil, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	pair.Leaf = chain[0]
	return pair, chain, nil
}

// LoadPair is Pair of two files.
func LoadPair(certPath, keyPath string) (tls.Certificate, error) {
	cert, err := Read(certPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := Read(keyPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, _, err := Pair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s and %s: %w", certPath, keyPath, err)
	}
	return pair, nil
}

// chainOf reads the certificates of a text that may hold their key as well, and the parameters that OpenSSL writes beside
// one. A kind of block that is not known might be a certificate that would not be served: TRUSTED CERTIFICATE is one.
func chainOf(text []byte) ([]*x509.Certificate, error) {
	blocks, err := Blocks(text)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	var chain []*x509.Certificate
	for i, block := range blocks {
		switch {
		case block.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
			}
			chain = append(chain, c)
		case isKey(block), isParameters(block):
		default:
			return nil, fmt.Errorf("certificate: PEM block %d is a %s, which is not read", i+1, block.Type)
		}
	}
	if len(chain) == 0 {
		return nil, errors.New("certificate: no PEM block CERTIFICATE in it")
	}
	return chain, nil
}

// keyOf is the one private key of a text.
func keyOf(text []byte) (*pem.Block, error) {
	blocks, err := Blocks(text)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	var private *pem.Block
	for _, block := range blocks {
		switch {
		case !isKey(block):
		case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, errEncrypted
		case private != nil:
			return nil, errors.New("more than one private key in it: which one is meant?")
		default:
			private = block
		}
	}
	if private == nil {
		return nil, errors.New("private key: no PEM block PRIVATE KEY in it")
	}
	return private, nil
}

func isKey(block *pem.Block) bool {
	return block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY")
}

func isParameters(block *pem.Block) bool {
	return block.Type == "EC PARAMETERS" || block.Type == "DH PARAMETERS"
}

// Client is the configuration of a client of that server. Each path may be empty: of the CA, then the system's are believed; of
// certificate and key, both or none, then none is shown. The errors name the settings as all containers have them.
func Client(server, caPath, certPath, keyPath string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: server, MinVersion: tls.VersionTLS12}
	if caPath != "" {
		var err error
		if cfg.RootCAs, err = Pool(caPath); err != nil {
			return nil, fmt.Errorf("TLS_CA_PATH: %w", err)
		}
	}
	if (certPath == "") != (keyPath == "") {
		return nil, errors.New("TLS_CERT_PATH and TLS_KEY_PATH: one without the other: a client certificate is both")
	}
	if certPath != "" {
		pair, err := LoadPair(certPath, keyPath)
		if err != nil {
			return nil, fmt.Errorf("TLS_CERT_PATH and TLS_KEY_PATH: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
