package accounts

import (
	"context"

	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

const columns = `id, org, kind, role, username, email, first_name, last_name, language, state, state_at,
	state_reason, state_before, purge_at, noted_at, COALESCE(profile, ''), profile_at, COALESCE(licence, ''), seat, seat_before,
	legal_hold, privacy_on, password, password_at, must_change_password, temporary_until, locked_until, second_factor_from,
	key_gen, public_key, identity_key, wrapped_key, user_cert, last_login_at, created_at, updated_at, quota_bytes`

func scan(row db.Row) (u User, err error) {
	var state, purge, noted, profile, password, temporary, locked, factor, login, created, updated int64
	err = row.Scan(&u.ID, &u.Org, &u.Kind, &u.Role, &u.Username, &u.Email, &u.FirstName, &u.LastName, &u.Language, &u.State, &state,
		&u.StateReason, &u.StateBefore, &purge, &noted, &u.Profile, &profile, &u.Licence, &u.Seat, &u.SeatBefore,
		&u.LegalHold, &u.PrivacyOn, &u.password, &password, &u.MustChangePassword, &temporary, &locked, &factor,
		&u.Keys.Gen, &u.Keys.PublicKey, &u.Keys.IdentityKey, &u.Keys.Wrapped, &u.Keys.Cert, &login, &created, &updated, &u.Quota)
	u.StateAt, u.ProfileAt, u.PasswordAt = db.Time(state), db.Time(profile), db.Time(password)
	u.PurgeAt, u.NotedAt, u.TemporaryUntil = db.Time(purge), db.Time(noted), db.Time(temporary)
	u.LockedUntil, u.SecondFactorFrom, u.LastLoginAt = db.Time(locked), db.Time(factor), db.Time(login)
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
			search, language, state, state_at, state_reason, state_before, purge_at, noted_at, profile, profile_at, licence, seat, seat_before,
			legal_hold, privacy_on, password, password_at, must_change_password, temporary_until, locked_until, second_factor_from,
			key_gen, public_key, identity_key, wrapped_key, user_cert, last_login_at, created_at, updated_at, quota_bytes)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
			$24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40)`,
		u.ID, u.Org, u.Kind, u.Role, u.Username, orgs.Fold(u.Username), u.Email, orgs.Fold(u.Email), u.FirstName, u.LastName,
		u.searchText(), u.Language, u.State, db.Micros(u.StateAt), u.StateReason, u.StateBefore, db.Micros(u.PurgeAt), db.Micros(u.NotedAt),
		db.Null(u.Profile), db.Micros(u.ProfileAt), db.Null(u.Licence), u.Seat, u.SeatBefore,
		u.LegalHold, u.PrivacyOn, u.password, db.Micros(u.PasswordAt), u.MustChangePassword, db.Micros(u.TemporaryUntil),
		db.Micros(u.LockedUntil), db.Micros(u.SecondFactorFrom),
		int64(u.Keys.Gen), u.Keys.PublicKey, u.Keys.IdentityKey, u.Keys.Wrapped, u.Keys.Cert,
		db.Micros(u.LastLoginAt), db.Micros(u.CreatedAt), db.Micros(u.UpdatedAt), u.Quota)
	return err
}

// update writes everything about an account that can change, but its keys.
func update(ctx context.Context, tx *db.Tx, u User) error {
	_, err := tx.Exec(ctx, `UPDATE users SET role = $2, username = $3, username_key = $4, email = $5, email_key = $6, first_name = $7,
			last_name = $8, search = $9, language = $10, state = $11, state_at = $12, state_reason = $13, state_before = $14, purge_at = $15,
			noted_at = $16, profile = $17, profile_at = $18, licence = $19, seat = $20, seat_before = $21, legal_hold = $22, privacy_on = $23,
			password = $24, password_at = $25, must_change_password = $26, temporary_until = $27, locked_until = $28,
			second_factor_from = $29, last_login_at = $30, updated_at = $31, quota_bytes = $32
		WHERE id = $1`,
		u.ID, u.Role, u.Username, orgs.Fold(u.Username), u.Email, orgs.Fold(u.Email), u.FirstName,
		u.LastName, u.searchText(), u.Language, u.State, db.Micros(u.StateAt), u.StateReason, u.StateBefore, db.Micros(u.PurgeAt),
		db.Micros(u.NotedAt), db.Null(u.Profile), db.Micros(u.ProfileAt), db.Null(u.Licence), u.Seat, u.SeatBefore, u.LegalHold, u.PrivacyOn,
		u.password, db.Micros(u.PasswordAt), u.MustChangePassword, db.Micros(u.TemporaryUntil), db.Micros(u.LockedUntil),
		db.Micros(u.SecondFactorFrom), db.Micros(u.LastLoginAt), db.Micros(u.UpdatedAt), u.Quota)
	return err
}
