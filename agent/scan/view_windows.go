package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/mxk/go-vss"
)

const separator = `\`

// freeze makes one shadow copy of each volume.
func (v *View) freeze(ctx context.Context, roots []string) error {
	copied := map[string]bool{}
	for _, root := range roots {
		volume, _, err := vss.SplitVolume(systemPath(root))
		if err != nil {
			return fmt.Errorf("looking for the volume of %s: %w", root, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if copied[volume] {
			continue
		}
		copied[volume] = true
		to, err := v.shadow(volume)
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		v.parts = append(v.parts, part{from: catalogPath(volume), to: to})
	}
	return nil
}

func (v *View) shadow(volume string) (string, error) {
	id, err := vss.Create(volume)
	if err != nil {
		return "", fmt.Errorf("making a shadow copy of %s: %w", volume, err)
	}
	if err := v.noteDown(id); err != nil {
		return "", err
	}
	copied, err := vss.Get(id)
	if err != nil {
		return "", fmt.Errorf("looking at the shadow copy of %s: %w", volume, err)
	}
	return strings.TrimRight(copied.DeviceObject, `\`), nil
}

// undo removes a shadow copy.
func undo(id string) error {
	if err := vss.Remove(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the shadow copy %s: %w", id, err)
	}
	return nil
}
