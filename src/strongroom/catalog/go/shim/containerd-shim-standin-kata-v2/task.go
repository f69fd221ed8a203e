package main

import (
	"context"

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
	return t.TTRPCTaskService.Create(ctx, request)
}

// RegisterTTRPC makes the shim's server call tasks, not what it wraps.
func (t tasks) RegisterTTRPC(server *ttrpc.Server) error {
	taskapi.RegisterTTRPCTaskService(server, t)
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
