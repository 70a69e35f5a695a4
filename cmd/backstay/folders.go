package main

import (
	"cmp"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/control"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/profile"
)

// foldersCommand shows what is backed up, and holds what changes it.
func (a *app) foldersCommand() *cobra.Command {
	cmd := a.chosenCommand("folders", a.showFolders)
	cmd.AddCommand(
		a.changeFolders("add", realFolder, func(paths [][]byte) control.Change { return control.Change{Add: paths} }),
		a.changeFolders("remove", formerFolder, func(paths [][]byte) control.Change { return control.Change{Remove: paths} }),
	)
	return a.withJSON(cmd)
}

func (a *app) changeFolders(name string, find func(arg string) (string, error), change func(paths [][]byte) control.Change) *cobra.Command {
	cmd := a.command(name+" FOLDER...", "cli.folders."+name+".", func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError(cmd, errs.New(errs.Invalid, "cli.folders.missing"))
		}
		var paths [][]byte
		for _, arg := range args {
			path, err := find(arg)
			if err != nil {
				return err
			}
			paths = append(paths, []byte(path))
		}
		st, err := a.change(cmd.Context(), change(paths))
		if err != nil {
			return err
		}
		return a.showFolders(agent.InForce(st))
	})
	return a.withJSON(cmd)
}

// formerFolder is the folder behind an argument, which need not be there any
// more.
func formerFolder(arg string) (string, error) {
	path, err := filepath.Abs(arg)
	if err != nil {
		return "", errs.New(errs.Local, "backup.folder.unreadable", "path", safe(arg)).Because(err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	return path, nil
}

type folderJSON struct {
	pathJSON
	Source    profile.Source  `json:"source"`
	Backed    bool            `json:"backed_up"`
	Mandatory bool            `json:"mandatory,omitempty"`
	Missing   bool            `json:"missing,omitempty"`
	Denied    bool            `json:"denied,omitempty"`
	Ignored   profile.Ignored `json:"choice_ignored,omitempty"`
}

// showFolders shows the folders, from whom they are, and which stay.
func (a *app) showFolders(e profile.Effective) error {
	listed := agent.Listed(e)
	if a.json {
		list := []folderJSON{}
		for _, f := range listed {
			list = append(list, folderJSON{toJSON(f.Here), f.Source, f.Backed(), f.Mandatory, f.Missing, f.Denied, f.Ignored})
		}
		return a.writeJSON(struct {
			Folders []folderJSON `json:"folders"`
			MayAdd  bool         `json:"may_add"`
		}{list, e.Settings.UserMay.Folders})
	}
	if len(listed) == 0 {
		_, err := a.out.Write([]byte(a.say.T("cli.folders.none") + "\n"))
		return err
	}
	rows := make([][]string, len(listed))
	for i, f := range listed {
		rows[i] = []string{safe(f.Here), a.say.T("choices.from." + string(f.Source)), cmp.Or(f.Remark(a.say), a.say.T("folders.state.backed"))}
	}
	return a.table([]string{a.say.T("cli.folders.head.folder"), a.say.T("cli.settings.head.source"), a.say.T("cli.folders.head.state")}, rows)
}
