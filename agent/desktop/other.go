//go:build !linux

package desktop

import "context"

// BUG(desktop): other systems than Linux say nothing here yet.

// Network is not known.
func (Bus) Network(context.Context) Network { return Network{} }

// InUse is not known.
func (Bus) InUse(context.Context) (inUse, known bool) { return false, false }

// Show has nowhere to show anything.
func (Bus) Show(context.Context, Notice) (uint32, error) { return 0, ErrNobody }
