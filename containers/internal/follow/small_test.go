package follow

import (
	"strconv"
	"syscall"
)

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o644) }
