package tokens

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
)

const (
	answerLife = 24 * time.Hour
	maxKey     = 255
)

// Once does what a token asks for under a key, in tx, and answers it; asked again
// within a day by the same token, it answers the same and does nothing. Without a
// key it is done each time. What fails is not kept: it may be tried again. One key
// for two different requests is a Conflict.
//
// Answers are kept as they are: none may hold a secret.
func Once[Request, Answer any](ctx context.Context, tx *db.Tx, by access.Caller, key string, request Request, do func() (Answer, error)) (answer Answer, err error) {
	if key == "" {
		return do()
	}
	if len(key) > maxKey {
		return answer, errs.New(errs.Invalid, "token.once.long", "n", maxKey)
	}
	asked, err := json.Marshal(request)
	if err != nil {
		return answer, fmt.Errorf("naming a request: %w", err)
	}
	name, before, text := hash(key), []byte(nil), ""
	err = tx.QueryRow(ctx, "SELECT request, answer FROM api_answers WHERE token = $1 AND key = $2 AND expires_at > $3", by.Token, name, db.Micros(tx.Now())).Scan(&before, &text)
	switch {
	case err == nil && !bytes.Equal(before, hash(string(asked))):
		return answer, errs.New(errs.Conflict, "token.once.other")
	case err == nil:
		return answer, json.Unmarshal([]byte(text), &answer)
	case !errors.Is(err, sql.ErrNoRows):
		return answer, fmt.Errorf("looking for what was answered: %w", err)
	}
	if answer, err = do(); err != nil {
		return answer, err
	}
	kept, err := json.Marshal(answer)
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO api_answers (token, key, request, answer, expires_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (token, key) DO UPDATE SET request = excluded.request, answer = excluded.answer, expires_at = excluded.expires_at`,
			by.Token, name, hash(string(asked)), string(kept), db.Micros(tx.Now().Add(answerLife)))
	}
	if err != nil {
		return answer, fmt.Errorf("keeping an answer: %w", err)
	}
	return answer, nil
}

func hash(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// keptFor is how long a token that is over is shown to those who look for it.
const keptFor = 90 * 24 * time.Hour

// Expire deletes answers that nobody asks for again, and tokens that have been
// over for long, and returns how many.
func Expire(ctx context.Context, tx *db.Tx) (int64, error) {
	answers, err := tx.Changed(ctx, "DELETE FROM api_answers WHERE expires_at <= $1", db.Micros(tx.Now()))
	if err != nil {
		return 0, fmt.Errorf("deleting answers: %w", err)
	}
	over := db.Micros(tx.Now().Add(-keptFor))
	gone, err := tx.Changed(ctx, "DELETE FROM api_tokens WHERE expires_at <= $1 OR revoked_at > 0 AND revoked_at <= $1", over)
	if err != nil {
		return 0, fmt.Errorf("deleting API tokens: %w", err)
	}
	return answers + gone, nil
}
