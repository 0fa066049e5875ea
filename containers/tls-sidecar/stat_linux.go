package main

import (
	"fmt"
	"io/fs"
	"syscall"
)

// identity is which file it is, and when it was last changed in any way: that
// moves with every write, even one that sets the other times back.
func identity(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d %d %d.%d", st.Dev, st.Ino, st.Ctim.Sec, st.Ctim.Nsec)
}
