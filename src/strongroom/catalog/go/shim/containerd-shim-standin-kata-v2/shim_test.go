package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"google.golang.org/protobuf/proto"
)

// recorder stands for runc's task service and keeps what it was asked.
type recorder struct {
	taskapi.TTRPCTaskService
	created *taskapi.CreateTaskRequest
}

func (r *recorder) Create(_ context.Context, request *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	r.created = request
	return &taskapi.CreateTaskResponse{Pid: 42}, nil
}

func TestCreateHandsRuncItsOwnOptions(t *testing.T) {
	inner := &recorder{}
	folder := bundle(t, "x.slice:cri-containerd:c1")
	request := &taskapi.CreateTaskRequest{ID: "c1", Bundle: folder, Options: kata(t)}
	response, err := tasks{inner}.Create(t.Context(), request)
	if err != nil || response.Pid != 42 {
		t.Fatal(response, err)
	}
	if got := unpacked(t, inner.created.Options); !got.SystemdCgroup || inner.created.ID != "c1" {
		t.Errorf("got %v", inner.created)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if path, err := os.ReadFile(filepath.Join(folder, "shim-binary-path")); err != nil || string(path) != self {
		t.Errorf("a restarted containerd is told %q, %v", path, err)
	}
}

func TestCreateWithoutSpecificationReachesNoRunc(t *testing.T) {
	inner := &recorder{}
	request := &taskapi.CreateTaskRequest{Bundle: t.TempDir(), Options: kata(t)}
	if _, err := (tasks{inner}).Create(t.Context(), request); err == nil || inner.created != nil {
		t.Error(err, inner.created)
	}
}

func TestInfoIsMarkedAndTakesAnyOptions(t *testing.T) {
	folder := t.TempDir()
	runc := []byte("#!/bin/sh\necho '{\"ociVersionMin\": \"1.0.0\", \"ociVersionMax\": \"1.2.1\"}'\n")
	if err := os.WriteFile(filepath.Join(folder, "runc"), runc, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	for name, given := range map[string]proto.Message{"none": nil, "kata": kata(t), "runc": packed(t, &options.Options{})} {
		var input []byte
		if given != nil {
			var err error
			if input, err = proto.Marshal(given); err != nil {
				t.Fatal(err)
			}
		}
		info, err := newManager().Info(t.Context(), bytes.NewReader(input))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if info.Annotations[standInAnnotation] == "" || info.Name != runtimeName || info.Features == nil {
			t.Errorf("%s: %v", name, info)
		}
		if (info.Options != nil) != (name == "runc") {
			t.Errorf("%s: options %v", name, info.Options)
		}
	}
}

func TestOneTaskServiceIsRegistered(t *testing.T) {
	found := 0
	for _, registration := range registry.Graph(func(*plugin.Registration) bool { return false }) {
		if registration.Type == plugins.TTRPCPlugin && registration.ID == "task" {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d task services: runc's own must not be there beside ours", found)
	}
}
