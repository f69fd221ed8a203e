package main

import (
	"regexp"
	"testing"
)

func TestOneLineNamesTheKernel(t *testing.T) {
	line, err := kernel()
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^kernel="[^"]+" version="[^"]+" machine="[^"]+"$`).MatchString(line) {
		t.Errorf("got %s", line)
	}
}
