// Command pod is what the verify phase runs in a RuntimeClass: it prints one line with the kernel that it sees, which
// in a guest is not the host's, then sleeps until it is told to end.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	line, err := kernel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(line)
	<-signals
}

// kernel is "kernel=<release> version=<build> machine=<machine>", as uname(2) has them.
func kernel() (string, error) {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return fmt.Sprintf("kernel=%q version=%q machine=%q",
		text(name.Release[:]), text(name.Version[:]), text(name.Machine[:])), nil
}

// text turns a NUL-terminated C array into a string; its element type is signed on amd64 and unsigned on arm64.
func text[T int8 | uint8](field []T) string {
	out := make([]byte, 0, len(field))
	for _, char := range field {
		if char == 0 {
			break
		}
		out = append(out, byte(char))
	}
	return string(out)
}
