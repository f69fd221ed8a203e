package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// runtimeName is what -info and the log call this shim, whichever handler it was started for.
const runtimeName = "dev.strongroom.standin-kata.v2"

// standInAnnotation marks this shim in the runtime information that containerd asks for with -info.
const standInAnnotation = "dev.strongroom/stand-in"

// standIn is runc's shim manager, deaf to options of other runtimes. Start and Stop are runc's own: Start looks for
// runc's options alone, and Stop reads what the task service wrote.
type standIn struct {
	shim.Shim
}

func newManager() shim.Shim {
	return standIn{manager.NewShimManager(runtimeName)}
}

// Info answers -info as runc's shim does, without failing on Kata's options, and marks the answer as a stand-in's.
func (s standIn) Info(ctx context.Context, stdin io.Reader) (*types.RuntimeInfo, error) {
	input, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("read the runtime options: %w", err)
	}
	if !areRuncOptions(input) {
		input = nil
	}
	info, err := s.Shim.Info(ctx, bytes.NewReader(input))
	if err != nil {
		return nil, err
	}
	if info.Annotations == nil {
		info.Annotations = map[string]string{}
	}
	info.Annotations[standInAnnotation] = "runs runc, isolates nothing"
	return info, nil
}

func areRuncOptions(input []byte) bool {
	var given anypb.Any
	return proto.Unmarshal(input, &given) == nil && typeurl.Is(&given, &options.Options{})
}
