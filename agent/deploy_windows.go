package agent

import (
	"path/filepath"

	"github.com/backstay/backstay/agent/acl"
)

// DeployPath is where management leaves the deployment file.
func DeployPath(getenv func(string) string) string {
	return filepath.Join(getenv("ProgramData"), "Backstay", "deploy.toml")
}

// makeDeployDir makes the folder of the deployment file, which is closed by it.
func makeDeployDir(dir string) error { return acl.Make(dir) }
