//go:build !linux && !darwin

package oracle

import (
	"errors"
	"fmt"
)

// Read is not written for this system yet.
func Read(root string) (*Tree, error) {
	return nil, fmt.Errorf("reading %s: %w", root, errors.ErrUnsupported)
}
