package accounts

import (
	"context"
	"time"

	"github.com/backstay/backstay/server/db"
)

// window is how long a deletion can be undone.
func window(context.Context, *db.Tx) (time.Duration, error) { return 7 * 24 * time.Hour, nil }
