//go:build linux

package e2e

import (
	"os"
	"testing"

	"github.com/backstay/backstay/e2e/scripttest"
)

func TestMain(m *testing.M) { os.Exit(scripttest.Main(m)) }

// TestScripts runs the chapters about a computer.
func TestScripts(t *testing.T) { scripttest.Run(t, nil) }
