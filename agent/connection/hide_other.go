//go:build !windows

package connection

import "os/exec"

func hide(*exec.Cmd) {}
