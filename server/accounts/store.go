package accounts

import (
	"context"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

const columns = `id, org, kind, role, username, email, first_name, last_name, language, state, state_at,
	COALESCE(profile, ''), profile_at, COALESCE(licence, ''), password, password_at, must_change_password, locked_until,
	key_gen, public_key, identity_key, wrapped_key, user_cert, last_login_at, created_at, updated_at`

func scan(row interface{ Scan(...any) error }) (u User, err error) {
	var state, profile, password, locked, login, created, updated int64
	err = row.Scan(&u.ID, &u.Org, &u.Kind, &u.Role, &u.Username, &u.Email, &u.FirstName, &u.LastName, &u.Language, &u.State, &state,
		&u.Profile, &profile, &u.Licence, &u.password, &password, &u.MustChangePassword, &locked,
		&u.Keys.Gen, &u.Keys.PublicKey, &u.Keys.IdentityKey, &u.Keys.Wrapped, &u.Keys.Cert, &login, &created, &updated)
	u.StateAt, u.ProfileAt, u.PasswordAt = db.Time(state), db.Time(profile), db.Time(password)
	u.LockedUntil, u.LastLoginAt = db.Time(locked), db.Time(login)
	u.CreatedAt, u.UpdatedAt = db.Time(created), db.Time(updated)
	return u, err
}

func findWhere(ctx context.Context, tx *db.Tx, where string, args ...any) (User, error) {
	return scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM users WHERE "+where, args...))
}

// searchText is what a search looks into. The line breaks keep a search from
// matching over two fields.
func (u User) searchText() string {
	return orgs.Fold(u.Username + "\n" + u.Email + "\n" + u.FirstName + " " + u.LastName)
}

func insert(ctx context.Context, tx *db.Tx, u User) error {
	_, err := tx.Exec(ctx, `INSERT INTO users (id, org, kind, role, username, username_key, email, email_key, first_name, last_name,
			search, language, state, state_at, profile, profile_at, licence, password, password_at, must_change_password, locked_until,
			key_gen, public_key, identity_key, wrapped_key, user_cert, last_login_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
			$22, $23, $24, $25, $26, $27, $28, $29)`,
		u.ID, u.Org, u.Kind, u.Role, u.Username, orgs.Fold(u.Username), u.Email, orgs.Fold(u.Email), u.FirstName, u.LastName,
		u.searchText(), u.Language, u.State, db.Micros(u.StateAt), db.Null(u.Profile), db.Micros(u.ProfileAt), db.Null(u.Licence),
		u.password, db.Micros(u.PasswordAt), u.MustChangePassword, db.Micros(u.LockedUntil),
		int64(u.Keys.Gen), u.Keys.PublicKey, u.Keys.IdentityKey, u.Keys.Wrapped, u.Keys.Cert,
		db.Micros(u.LastLoginAt), db.Micros(u.CreatedAt), db.Micros(u.UpdatedAt))
	return err
}

// update writes everything about an account that can change, but its keys.
func update(ctx context.Context, tx *db.Tx, u User) error {
	_, err := tx.Exec(ctx, `UPDATE users SET role = $2, username = $3, username_key = $4, email = $5, email_key = $6, first_name = $7,
			last_name = $8, search = $9, language = $10, state = $11, state_at = $12, profile = $13, profile_at = $14, licence = $15,
			password = $16, password_at = $17, must_change_password = $18, locked_until = $19, last_login_at = $20, updated_at = $21
		WHERE id = $1`,
		u.ID, u.Role, u.Username, orgs.Fold(u.Username), u.Email, orgs.Fold(u.Email), u.FirstName,
		u.LastName, u.searchText(), u.Language, u.State, db.Micros(u.StateAt), db.Null(u.Profile), db.Micros(u.ProfileAt), db.Null(u.Licence),
		u.password, db.Micros(u.PasswordAt), u.MustChangePassword, db.Micros(u.LockedUntil), db.Micros(u.LastLoginAt), db.Micros(u.UpdatedAt))
	return err
}
