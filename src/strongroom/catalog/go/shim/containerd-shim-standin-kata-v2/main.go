// Command containerd-shim-standin-kata-v2 takes the place of Kata's shim on lab hosts whose processor has no TEE, or
// whose virtual machines can't nest. containerd starts it for a Kata handler and hands it Kata's options; it sets them
// aside and runs the pod with runc. It isolates nothing, says so in its log and in its -info, and is recognised by
// strongroom by its digest.
package main

import (
	"context"

	"github.com/containerd/containerd/v2/pkg/shim"
)

func main() {
	shim.RunShim(context.Background(), newManager())
}
