package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// packed marshals options as containerd does for a handler.
func packed(t *testing.T, message proto.Message) *anypb.Any {
	t.Helper()
	result, err := typeurl.MarshalAnyToProto(message)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// kata is what containerd's CRI plugin makes of a handler's ConfigPath.
func kata(t *testing.T) *anypb.Any {
	t.Helper()
	return packed(t, &runtimeoptions.Options{TypeUrl: "runtimeoptions.v1.Options", ConfigPath: "/opt/kata/x.toml"})
}

// bundle makes an OCI bundle whose specification has the cgroup path.
func bundle(t *testing.T, cgroup string) string {
	t.Helper()
	folder := t.TempDir()
	spec := []byte(`{"ociVersion": "1.2.1", "linux": {"cgroupsPath": "` + cgroup + `"}}`)
	if err := os.WriteFile(filepath.Join(folder, "config.json"), spec, 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func unpacked(t *testing.T, given *anypb.Any) *options.Options {
	t.Helper()
	value, err := typeurl.UnmarshalAny(given)
	if err != nil {
		t.Fatal(err)
	}
	return value.(*options.Options)
}

func TestForeignOptionsBecomeRuncs(t *testing.T) {
	unknown := &anypb.Any{TypeUrl: "types.example.org/v9.Unheard", Value: []byte{1, 2, 3}}
	for name, given := range map[string]*anypb.Any{"kata": kata(t), "none": nil, "unknown": unknown} {
		for cgroup, systemd := range map[string]bool{
			"kubepods-besteffort-pod1.slice:cri-containerd:abc": true,
			"/kubepods/besteffort/pod1/abc":                     false,
			"/a:b:c/d":                                          false,
			"":                                                  false,
		} {
			result, err := runcOptions(given, bundle(t, cgroup))
			if err != nil {
				t.Fatalf("%s, %q: %v", name, cgroup, err)
			}
			got := unpacked(t, result)
			if got.BinaryName != "" || got.SystemdCgroup != systemd {
				t.Errorf("%s, %q: %v", name, cgroup, got)
			}
		}
	}
}

func TestRuncsOwnOptionsPass(t *testing.T) {
	given := packed(t, &options.Options{BinaryName: "/usr/bin/crun", Root: "/run/x"})
	result, err := runcOptions(given, t.TempDir()) // without config.json: it isn't read
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(result, given) {
		t.Errorf("got %v", result)
	}
}

func TestBundleWithoutSpecification(t *testing.T) {
	if _, err := runcOptions(kata(t), t.TempDir()); err == nil {
		t.Error("a missing config.json is no error")
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runcOptions(kata(t), folder); err == nil {
		t.Error("a broken config.json is no error")
	}
}
