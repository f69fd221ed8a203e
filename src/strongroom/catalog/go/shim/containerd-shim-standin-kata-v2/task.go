package main

import (
	"context"
	"os"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/containerd/ttrpc"
)

// tasks is runc's task service; only the options of Create differ.
type tasks struct {
	taskapi.TTRPCTaskService
}

// Create replaces options that aren't runc's and creates the container with runc.
func (t tasks) Create(ctx context.Context, request *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	opts, err := runcOptions(request.Options, request.Bundle)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	request.Options = opts
	if err := rememberShim(request.Bundle); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return t.TTRPCTaskService.Create(ctx, request)
}

// rememberShim writes the path of this program into the bundle, where containerd looks for it after a restart. containerd
// 2.3 writes it only for containers that it ran the shim's binary for: for the pod's sandbox, not for the containers that
// join its shim. For those it would then look for a program named after the handler on its PATH, find none, and take
// their tasks for lost while they run on (core/runtime/v2/shim_load.go).
func rememberShim(bundle string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "shim-binary-path"), []byte(self), 0o600)
}

// RegisterTTRPC makes the shim's server call tasks, not what it wraps.
func (t tasks) RegisterTTRPC(server *ttrpc.Server) error {
	taskapi.RegisterTTRPCTaskService(server, t)
	registerSecond(server, t)
	return nil
}

// The server that pkg/shim runs finds its services in this registry.
func init() {
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			stop, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			service, err := task.NewTaskService(ic.Context, publisher.(shim.Publisher), stop.(shutdown.Service))
			if err != nil {
				return nil, err
			}
			log.G(ic.Context).Warn("this is a stand-in for Kata: it runs runc and isolates nothing")
			return tasks{service}, nil
		},
	})
}
