package devices_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/db"
)

// dump is all that is in a database, every column of every table as the
// database gives it.
func dump(t *testing.T, dsn string) []byte {
	t.Helper()
	driver, address := "pgx", dsn
	tables := "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, address = "sqlite", "file:"+path
		tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
	}
	pool, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var all bytes.Buffer
	for _, table := range strings.Fields(query(t, pool, tables)) {
		all.WriteString(query(t, pool, `SELECT * FROM "`+table+`"`))
	}
	return all.Bytes()
}

func query(t *testing.T, pool *sql.DB, q string) string {
	t.Helper()
	rows, err := pool.QueryContext(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			switch v := (*v.(*any)).(type) {
			case []byte:
				b.Write(v)
			default:
				fmt.Fprint(&b, v)
			}
			b.WriteByte('\n')
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A dump of the database and the log hold no key that opens anything: raw, hex
// or base64. What they may hold is sealed.
func TestNoSecretsInTheDatabase(t *testing.T) {
	// Not parallel: it looks at the program's log.
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)

	w := newWorld(t)
	d, c := w.device(w.una, "one")
	token := w.token(d, c)
	var session, userToken string
	w.Write(func(tx *db.Tx) (err error) {
		if session, _, err = accounts.StartSession(t.Context(), tx, from, w.una, accounts.NewSession{Portal: accounts.ToPortal}); err != nil {
			return err
		}
		userToken, _, err = accounts.IssueToken(t.Context(), tx, caller(d), w.una, d.ID, time.Time{})
		return err
	})
	// A snapshot is opened, too.
	root := backup.Key{}
	copy(root[:], "a root key that must not be seen")
	record, err := snapshot.DecodeOrgRecord(w.Org.Record)
	if err != nil {
		t.Fatal(err)
	}
	m := &snapshot.Manifest{}
	m.Org, _ = backup.ParseUUID(string(w.Org.ID))
	m.User, _ = backup.ParseUUID(string(w.una.ID))
	if err := m.Seal(snapshot.ToOrg, record.PublicKey, &snapshot.Private{RootKey: root}); err != nil {
		t.Fatal(err)
	}
	m.Sign(c.signing)
	w.Write(func(tx *db.Tx) error {
		private, err := w.Ring.OpenSnapshot(t.Context(), tx, w.una.Caller(from), m)
		if err == nil && !bytes.Contains(private, root[:]) {
			t.Error("the snapshot has another root key")
		}
		return err
	})
	slog.New(slog.NewTextHandler(&log, nil)).Info("all done", "user", w.una, "device", d, "caller", caller(d), "ring", w.Ring,
		"printed", fmt.Sprintf("%v %+v %#v", w.Ring, w.Ring, w.Ring))
	slog.Info("all done", "user", w.una, "device", d, "caller", caller(d), "ring", w.Ring)

	keyFile, err := os.ReadFile(filepath.Join(w.KeyDir, "keyfile"))
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := os.ReadFile(filepath.Join(w.KeyDir, string(w.Org.ID)+"-1.key"))
	if err != nil {
		t.Fatal(err)
	}
	ork, err := crypt.UnwrapOrg(keyFile, m.Org, 1, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	org, err := crypt.DeriveOrg(ork, 1)
	if err != nil {
		t.Fatal(err)
	}
	urk, err := crypt.OpenUser(org.SealPrivate, m.User, 1, w.una.Keys.Wrapped)
	if err != nil {
		t.Fatal(err)
	}
	user, err := crypt.DeriveUser(urk, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	everything := append(dump(t, w.DSN), log.Bytes()...)
	for _, known := range []string{"una", string(d.ID), "snapshot"} {
		if !bytes.Contains(everything, []byte(known)) {
			t.Fatalf("the dump lacks %q: it is no dump", known)
		}
	}
	if !bytes.Contains(everything, w.una.Keys.Wrapped) {
		t.Fatal("the dump lacks the wrapped key: it is no dump")
	}
	for name, secret := range map[string][]byte{
		"the key file": keyFile, "the organisation's root key": ork[:], "sk_org": org.SealPrivate,
		"the organisation's signing key": org.Root.Seed(), "the receipt key": org.Receipt.Seed(),
		"the user's root key": urk[:], "sk_u": user.SealPrivate, "the identity key": user.Identity.Seed(),
		"the scope secret": user.Scope[:], "the chunker secret": user.Chunker[:], "the snapshot's root key": root[:],
		"the device's token": []byte(token), "the session's token": []byte(session), "the user's token": []byte(userToken),
		"the password": []byte("Correct horse 1"), "the password's hash": []byte("$argon2id$"),
	} {
		for form, text := range map[string]string{
			"raw": string(secret), "hex": hex.EncodeToString(secret), "HEX": strings.ToUpper(hex.EncodeToString(secret)),
			"base64":               strings.TrimRight(base64.StdEncoding.EncodeToString(secret), "="),
			"base64 for addresses": base64.RawURLEncoding.EncodeToString(secret),
			"bytes":                strings.Trim(fmt.Sprint(secret), "[]"),
		} {
			where := everything
			if name == "the password's hash" { // which belongs into the database
				where = log.Bytes()
			}
			if bytes.Contains(where, []byte(text)) {
				t.Errorf("%s lies there in %s", name, form)
			}
		}
	}
}
