package settings

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
)

// Change lets edit change the settings, and records what each field was and is
// now. Nothing is written where nothing changed.
//
// Whoever may choose the mail server must not learn the password by pointing
// at a server of their own: when the host changes, or TLS is given up, the
// stored one is forgotten. HasPassword is not edit's to change. Nobody alone
// makes it so that fewer acts take two administrators.
func Change(ctx context.Context, tx *db.Tx, by access.Caller, edit func(*Settings) error) error {
	if err := audit.See(by, access.ManageSettings, "", "", "settings"); err != nil {
		return err
	}
	before, err := Load(ctx, tx)
	if err != nil {
		return err
	}
	after := before
	if err := edit(&after); err != nil {
		return err
	}
	if err := after.normalise(); err != nil {
		return err
	}
	if before.Approvals.Loosened(after.Approvals) && by.Kind != access.SystemKind {
		return errs.New(errs.Forbidden, "settings.approvals.two")
	}
	after.Users = changed(before.Users, after.Users, tx.Now())
	forget := before.Mail.HasPassword && (after.Mail.Host != before.Mail.Host ||
		after.Mail.Security == Plain && before.Mail.Security != Plain)
	old := before.sections()
	for i, part := range after.sections() {
		details := compare(old[i].value, part.value)
		if part.name == mailSection && forget {
			details = append(details, audit.Note("password", "forgotten"))
		}
		if len(details) == 0 {
			continue
		}
		if err := audit.Check(ctx, tx, by, access.ManageSettings, "", "", "settings/"+part.name, details...); err != nil {
			return err
		}
		if err := store(ctx, tx, by, part); err != nil {
			return err
		}
	}
	if forget {
		return setSecret(ctx, tx, by, nil)
	}
	return nil
}

// compare lists the fields in which two sections differ, by their names in
// JSON. What has none is no setting.
func compare(before, after any) []audit.Detail {
	var details []audit.Detail
	b, a := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	for i := range b.NumField() {
		name, _, _ := strings.Cut(b.Type().Field(i).Tag.Get("json"), ",")
		if name == "-" || reflect.DeepEqual(b.Field(i).Interface(), a.Field(i).Interface()) {
			continue
		}
		details = append(details, audit.Change(name, b.Field(i).Interface(), a.Field(i).Interface()))
	}
	return details
}

func store(ctx context.Context, tx *db.Tx, by access.Caller, part section) error {
	text, err := json.Marshal(part.value)
	if err != nil {
		return fmt.Errorf("changing the settings of %s: %w", part.name, err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO settings (section, value, updated_by, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (section) DO UPDATE SET value = excluded.value, updated_by = excluded.updated_by, updated_at = excluded.updated_at`,
		part.name, string(text), by.ID(), db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("changing the settings of %s: %w", part.name, err)
	}
	return nil
}

// sealing is what the mail server's password is sealed for.
const sealing = "settings.mail.password"

const maxPassword = 1000

// SetMailPassword stores the password of the mail server; empty forgets it. It
// comes after a Change of the server, which may forget the one before.
func SetMailPassword(ctx context.Context, tx *db.Tx, by access.Caller, ring *keys.Ring, password string) error {
	what := "set"
	if password == "" {
		what = "forgotten"
	}
	if err := audit.Check(ctx, tx, by, access.ManageSettings, "", "", "settings/"+mailSection, audit.Note("password", what)); err != nil {
		return err
	}
	if password == "" {
		return setSecret(ctx, tx, by, nil)
	}
	if len(password) > maxPassword || strings.ContainsAny(password, "\r\n\x00") {
		return errs.New(errs.Invalid, "settings.mail.password")
	}
	sealed, err := ring.Seal(sealing, []byte(password))
	if err != nil {
		return fmt.Errorf("sealing the mail server's password: %w", err)
	}
	return setSecret(ctx, tx, by, sealed)
}

func setSecret(ctx context.Context, tx *db.Tx, by access.Caller, sealed []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO settings (section, value, secret, updated_by, updated_at) VALUES ($1, '{}', $2, $3, $4)
		ON CONFLICT (section) DO UPDATE SET secret = excluded.secret, updated_by = excluded.updated_by, updated_at = excluded.updated_at`,
		mailSection, sealed, by.ID(), db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("storing the mail server's password: %w", err)
	}
	return nil
}

// MailPassword is the password of the mail server, for the sender of mail; ""
// when there is none.
func MailPassword(ctx context.Context, tx *db.Tx, ring *keys.Ring) (string, error) {
	var sealed []byte
	err := tx.QueryRow(ctx, "SELECT secret FROM settings WHERE section = $1", mailSection).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) || err == nil && sealed == nil {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the mail server's password: %w", err)
	}
	password, err := ring.Unseal(sealing, sealed)
	if err != nil {
		return "", fmt.Errorf("unsealing the mail server's password: %w", err)
	}
	return string(password), nil
}
