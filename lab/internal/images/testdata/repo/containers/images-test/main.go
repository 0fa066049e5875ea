// Command images-test prints a greeting and what it finds beside itself.
package main

import (
	"fmt"
	"os"

	"distlab/containers/internal/greet"
)

func main() {
	page, err := os.ReadFile("/page.txt")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s, %s", greet.Text, page)
}
