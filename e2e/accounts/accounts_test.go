//go:build linux

package accounts

import (
	"os"
	"testing"

	"github.com/backstay/backstay/e2e/scripttest"
	"github.com/backstay/backstay/server/db/dbtest"
)

func TestMain(m *testing.M) { os.Exit(scripttest.Main(m)) }

// TestScripts runs the chapters about what the server remembers, on the database
// of the run.
func TestScripts(t *testing.T) { scripttest.Run(t, dbtest.DSN) }
