package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

// runcOptions returns what runc's task service shall see in place of given.
//
// runc's own options pass unchanged. Any other type (Kata's handlers carry runtimeoptions.v1.Options with ConfigPath)
// is replaced, because runc's service fails on a type that isn't its own. The cgroup driver is not in Kata's options;
// the bundle's cgroup path tells it.
func runcOptions(given *anypb.Any, bundle string) (*anypb.Any, error) {
	if given != nil && typeurl.Is(given, &options.Options{}) {
		return given, nil
	}
	systemd, err := wantsSystemdCgroup(bundle)
	if err != nil {
		return nil, err
	}
	return typeurl.MarshalAnyToProto(&options.Options{SystemdCgroup: systemd})
}

// wantsSystemdCgroup reads linux.cgroupsPath of the OCI bundle: "slice:prefix:name" is systemd's form, a path is
// cgroupfs's. The CRI plugin picks between them by the kubelet's cgroup parent, for every runtime alike.
func wantsSystemdCgroup(bundle string) (bool, error) {
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("read the bundle's specification: %w", err)
	}
	var spec struct {
		Linux struct {
			CgroupsPath string `json:"cgroupsPath"`
		} `json:"linux"`
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	cgroup := spec.Linux.CgroupsPath
	return strings.Count(cgroup, ":") == 2 && !strings.Contains(cgroup, "/"), nil
}
