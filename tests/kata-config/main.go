// kata-config reads Kata configurations with Kata's own parser (katautils.LoadConfiguration of its Go runtime) and prints
// what the runtime would take from each, one JSON object a line. A configuration that the parser refuses gives "error".
package main

import (
	"encoding/json"
	"io"
	"os"

	"github.com/kata-containers/kata-containers/src/runtime/pkg/katautils"
	"github.com/kata-containers/kata-containers/src/runtime/virtcontainers/utils"
	"github.com/sirupsen/logrus"
)

type found struct {
	File                   string   `json:"file"`
	Error                  string   `json:"error,omitempty"`
	Hypervisor             string   `json:"hypervisor,omitempty"`
	Path                   string   `json:"path,omitempty"`
	Kernel                 string   `json:"kernel,omitempty"`
	Image                  string   `json:"image,omitempty"`
	Firmware               string   `json:"firmware,omitempty"`
	SharedFS               string   `json:"shared_fs,omitempty"`
	Memory                 uint32   `json:"default_memory"`
	VCPUs                  float32  `json:"default_vcpus"`
	KernelParams           []string `json:"kernel_params"`
	Annotations            []string `json:"enable_annotations"`
	ConfidentialGuest      bool     `json:"confidential_guest"`
	SnpGuest               bool     `json:"sev_snp_guest"`
	HypervisorDebug        bool     `json:"hypervisor_debug"`
	RuntimeDebug           bool     `json:"runtime_debug"`
	AgentDebug             bool     `json:"agent_debug"`
	DebugConsole           bool     `json:"debug_console"`
	ForceGuestPull         bool     `json:"force_guest_pull"`
	CreateContainerTimeout uint64   `json:"create_container_timeout"`
}

func read(file string) found {
	_, config, err := katautils.LoadConfiguration(file, true)
	if err != nil {
		return found{File: file, Error: err.Error()}
	}
	h := config.HypervisorConfig
	params := []string{}
	for _, param := range h.KernelParams {
		text := param.Key
		if param.Value != "" {
			text += "=" + param.Value
		}
		params = append(params, text)
	}
	return found{
		File: file, Hypervisor: string(config.HypervisorType), Path: h.HypervisorPath, Kernel: h.KernelPath,
		Image: h.ImagePath, Firmware: h.FirmwarePath, SharedFS: h.SharedFS, Memory: h.MemorySize, VCPUs: h.NumVCPUsF,
		KernelParams: params, Annotations: h.EnableAnnotations, ConfidentialGuest: h.ConfidentialGuest,
		SnpGuest: h.SevSnpGuest, HypervisorDebug: h.Debug, RuntimeDebug: config.Debug, AgentDebug: config.AgentConfig.Debug,
		DebugConsole: config.AgentConfig.EnableDebugConsole, ForceGuestPull: config.ForceGuestPull,
		CreateContainerTimeout: config.CreateContainerTimeout,
	}
}

func main() {
	// The parser looks whether this host could start a guest; what is asked of it here is what a configuration says.
	utils.VHostVSockDevicePath = os.DevNull
	logrus.SetOutput(io.Discard)
	out := json.NewEncoder(os.Stdout)
	for _, file := range os.Args[1:] {
		if err := out.Encode(read(file)); err != nil {
			os.Exit(1)
		}
	}
}
