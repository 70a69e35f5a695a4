// Package programtest has our programs ready for tests that run them.
package programtest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Main is the TestMain of a package that runs programs. Their folder, which it
// puts into bin, is BACKSTAY_BIN when that is set, else one that they are built
// into.
func Main(m *testing.M, bin *string, programs ...string) int {
	if *bin = os.Getenv("BACKSTAY_BIN"); *bin != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "backstay-bin-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir, programs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building the programs:", err)
		return 1
	}
	*bin = dir
	return m.Run()
}

func build(dir string, programs []string) error {
	// Other users run them as well: a script drops its rights.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	args := []string{"build", "-buildvcs=false", "-o", dir + "/"}
	for _, p := range programs {
		args = append(args, "github.com/backstay/backstay/cmd/"+p)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}
