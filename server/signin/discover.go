package signin

import (
	"context"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// Password is how everybody signs in where nobody else vouches for people.
const Password = "password"

// discoverPerMinute is how often one connection may ask how people sign in.
const discoverPerMinute = 20

// Discover says how whoever has an identifier signs in. It looks at the realm of
// the identifier's domain and at no account: what is known and what is not gets
// the same answer, in the same time.
func (g *Gate) Discover(ctx context.Context, from access.Caller, identifier string) (method string, err error) {
	var wait time.Duration
	err = g.DB.Write(ctx, func(tx *db.Tx) (err error) {
		wait, err = hit(ctx, tx, g.subject("discover", host(from.IP)), time.Minute, discoverPerMinute)
		return err
	})
	if err != nil {
		return "", err
	}
	if wait > 0 {
		return "", tooMany(wait)
	}
	return realm(identifier), nil
}

// realm is how people of an identifier's domain sign in: by password, all of
// them, as long as nobody else vouches for anybody.
func realm(string) string { return Password }
