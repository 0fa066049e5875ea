package stack

import (
	"io"
	"os"
	"sync"

	"github.com/sirupsen/logrus"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

// quiet keeps the libraries from writing to the terminal, which is ours, and from starting Ryuk: a stack of `lab up`
// must outlive this process, and Ryuk is one more image to pull.
var quiet = sync.OnceFunc(func() {
	_ = os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	logrus.SetOutput(io.Discard)
	tclog.SetDefault(silent{})
})

type silent struct{}

func (silent) Printf(string, ...any) {}
