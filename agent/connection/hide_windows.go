package connection

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// hide keeps the process from opening a window.
func hide(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{HideWindow: true, CreationFlags: windows.CREATE_NO_WINDOW}
}
