package main

import (
	"context"
	"fmt"
	"os"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/ttrpc"
)

// containerd before 2.3 has another way to start a shim: options on stdin, all else in flags and the environment, the
// bare address as the answer, and the same address in a file, where containerd 1.7 looks for it after a restart; and it
// speaks the second version of the task service. Kata's own shim does all of that, so its stand-in has to. The two versions
// of the service differ by their name alone (api/runtime/task/v2 and v3).

const secondTaskService = "containerd.task.v2.Task"

// Start starts the shim's server. To a containerd that named no version of its own it answers as that one reads it.
func (s standIn) Start(ctx context.Context, params *bootapi.BootstrapParams) (*bootapi.BootstrapResult, error) {
	if params.GetContainerdVersion() != "" {
		return s.Shim.Start(ctx, params)
	}
	// Options on stdin can pass for parameters, and are not: their type's name would be the instance's.
	result, err := s.Shim.Start(ctx, legacyParams(os.Args, os.Getenv))
	if err != nil {
		return nil, err
	}
	// containerd starts a shim in the folder of its bundle.
	if err := os.WriteFile("address", []byte(result.Address), 0o600); err != nil {
		return nil, err
	}
	if _, err := fmt.Print(result.Address); err != nil {
		return nil, err
	}
	os.Exit(0) // or the answer of today would follow
	return nil, nil
}

// legacyParams are the parameters as flags and environment have them.
func legacyParams(arguments []string, environment func(string) string) *bootapi.BootstrapParams {
	flags := map[string]string{}
	for index, argument := range arguments[:max(0, len(arguments)-1)] {
		flags[argument] = arguments[index+1]
	}
	params := &bootapi.BootstrapParams{
		InstanceID:             flags["-id"],
		Namespace:              flags["-namespace"],
		ContainerdGrpcAddress:  flags["-address"],
		ContainerdTtrpcAddress: environment("TTRPC_ADDRESS"),
		ContainerdBinary:       flags["-publish-binary"],
	}
	if _, debug := flags["-debug"]; debug {
		params.LogLevel = bootapi.LogLevel_LOG_LEVEL_DEBUG
	}
	return params
}

// registerSecond makes a server answer to the second version of the task service as well.
func registerSecond(server *ttrpc.Server, t taskapi.TTRPCTaskService) {
	server.RegisterService(secondTaskService, &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"State":      method(t.State),
		"Create":     method(t.Create),
		"Start":      method(t.Start),
		"Delete":     method(t.Delete),
		"Pids":       method(t.Pids),
		"Pause":      method(t.Pause),
		"Resume":     method(t.Resume),
		"Checkpoint": method(t.Checkpoint),
		"Kill":       method(t.Kill),
		"Exec":       method(t.Exec),
		"ResizePty":  method(t.ResizePty),
		"CloseIO":    method(t.CloseIO),
		"Update":     method(t.Update),
		"Wait":       method(t.Wait),
		"Stats":      method(t.Stats),
		"Connect":    method(t.Connect),
		"Shutdown":   method(t.Shutdown),
	}})
}

func method[Request, Response any](call func(context.Context, *Request) (*Response, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(any) error) (any, error) {
		request := new(Request)
		if err := unmarshal(request); err != nil {
			return nil, err
		}
		return call(ctx, request)
	}
}
