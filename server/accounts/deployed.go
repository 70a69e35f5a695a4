package accounts

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/passwords"
)

// BeginDeployed makes an invited account active because a computer of its user
// was deployed: backups need no password. What was mailed to set one stays good;
// until somebody does, or asks for a new link, nobody can log in.
func BeginDeployed(ctx context.Context, tx *db.Tx, by access.Caller, u User) (User, error) {
	if u.State != Invited {
		return u, nil
	}
	if u.password == "" {
		u.password = new(passwords.Hasher).HashRandom(passwords.Readable())
		if err := update(ctx, tx, u); err != nil {
			return User{}, fmt.Errorf("beginning account %s: %w", u.ID, err)
		}
	}
	if err := begin(ctx, tx, by, u); err != nil {
		return User{}, err
	}
	return Find(ctx, tx, u.ID)
}
