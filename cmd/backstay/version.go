package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/version"
)

func (a *app) versionCommand() *cobra.Command {
	cmd := a.command("version", "cli.version.", func(*cobra.Command, []string) error {
		if a.json {
			return a.writeJSON(struct {
				Version string `json:"version"`
				Build   string `json:"build"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{version.Number(), version.Build, runtime.Version(), runtime.GOOS, runtime.GOARCH})
		}
		_, err := fmt.Fprintln(a.out, "backstay", version.String())
		return err
	})
	cmd.Args = maxArgs(0)
	return a.withJSON(cmd)
}
