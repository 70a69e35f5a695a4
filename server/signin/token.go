package signin

import (
	"context"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

// tokensPerMinute is how many tokens that are not good one connection may show.
const tokensPerMinute = 20

// WrongToken counts, for the connection that it came from, a token of a program
// that is not good, and returns what to say: refusal, or E1104 when there were too
// many. A good token is let in all the same, so that nobody is kept out by what
// else comes from their network: tokens are too long to be guessed, and the count
// is there to make it cheap to be asked.
//
// It reports whether the refusal is to be recorded: no more than 20 in an hour are,
// of one token.
func (g *Gate) WrongToken(ctx context.Context, from access.Caller, refusal error) (failure error, record bool) {
	var tooMuch, known time.Duration
	err := g.DB.Write(ctx, func(tx *db.Tx) (err error) {
		if tooMuch, err = hit(ctx, tx, g.subject("token", host(from.IP)), time.Minute, tokensPerMinute); err != nil || tooMuch > 0 || from.Token == "" {
			return err
		}
		known, err = hit(ctx, tx, g.subject("token noted", from.Token), time.Hour, noted)
		return err
	})
	switch {
	case err != nil:
		return err, false
	case tooMuch > 0:
		return tooMany(tooMuch), false
	}
	return refusal, from.Token != "" && known == 0
}
