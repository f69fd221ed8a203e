package main

import (
	"net"
	"path/filepath"
	"testing"

	second "github.com/containerd/containerd/api/runtime/task/v2"
	third "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/ttrpc"
)

// Every method that the second version has, and the third, is answered under its name; messages are the same bytes.
func TestTheSecondTaskServiceIsAnswered(t *testing.T) {
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	inner := &recorder{}
	if err := (tasks{inner}).RegisterTTRPC(server); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(t.Context(), listener)
	defer server.Close()
	connection, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	client := ttrpc.NewClient(connection)
	defer client.Close()
	folder := bundle(t, "x.slice:cri-containerd:c1")
	answer, err := second.NewTTRPCTaskClient(client).Create(
		t.Context(), &second.CreateTaskRequest{ID: "c1", Bundle: folder, Options: kata(t), Stdout: "/o"},
	)
	if err != nil || answer.Pid != 42 {
		t.Fatal(answer, err)
	}
	if got := inner.created; got.ID != "c1" || got.Stdout != "/o" || !unpacked(t, got.Options).SystemdCgroup {
		t.Errorf("got %v", got)
	}
	if _, err := third.NewTTRPCTaskClient(client).Create(
		t.Context(), &third.CreateTaskRequest{ID: "c2", Bundle: folder, Options: kata(t)},
	); err != nil || inner.created.ID != "c2" {
		t.Error(err, inner.created)
	}
}

func TestOldContainerdsParametersAreItsFlags(t *testing.T) {
	arguments := []string{"shim", "-namespace", "k8s.io", "-address", "/run/c.sock", "-publish-binary", "/usr/bin/containerd",
		"-id", "abc", "-bundle", "/b", "-debug", "start"}
	params := legacyParams(arguments, func(name string) string { return name + "'s" })
	if params.InstanceID != "abc" || params.Namespace != "k8s.io" || params.ContainerdGrpcAddress != "/run/c.sock" ||
		params.ContainerdTtrpcAddress != "TTRPC_ADDRESS's" || params.ContainerdBinary != "/usr/bin/containerd" ||
		params.LogLevel == 0 {
		t.Errorf("got %v", params)
	}
	if params := legacyParams([]string{"shim"}, func(string) string { return "" }); params.InstanceID != "" {
		t.Errorf("got %v", params)
	}
}
