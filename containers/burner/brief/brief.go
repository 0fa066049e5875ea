// Package brief ends a process that is to be brief before it has begun. Go initializes packages as soon as what they
// import is, in the order of their paths: this one comes before net, net/http and the metrics, whose initialization costs
// several times what a process costs, and 200 children a second shall not cost a processor.
package brief

import "syscall"

// Variable says, if it is Role, that the process is to end at once.
const (
	Variable = "BURNER_CHILD"
	Role     = "brief"
)

func init() {
	if role, _ := syscall.Getenv(Variable); role == Role {
		syscall.Exit(0)
	}
}
