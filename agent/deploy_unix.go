//go:build unix

package agent

import "github.com/backstay/backstay/durable"

// DeployPath is where management leaves the deployment file.
func DeployPath(func(string) string) string { return "/etc/backstay/deploy.toml" }

// makeDeployDir makes the folder of the deployment file. There are others' settings
// in it, and the file closes itself.
func makeDeployDir(dir string) error { return durable.MkdirAll(dir, 0o755) }
