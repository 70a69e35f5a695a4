package factors

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// ceremonyLife is how long a browser may take to answer.
const ceremonyLife = 5 * time.Minute

// What a ceremony is for. One that was begun for one thing is not good for the
// other.
const (
	toEnrol = "enrol"
	toProve = "prove"
)

// BeginEnrol begins to make a passkey for the caller, in their login session,
// and returns what the browser's navigator.credentials.create wants, as JSON.
func (f *Factors) BeginEnrol(ctx context.Context, by access.Caller) (json.RawMessage, error) {
	var options json.RawMessage
	err := f.DB.Write(ctx, func(tx *db.Tx) error {
		p, err := findPerson(ctx, tx, by.User)
		if err != nil {
			return err
		}
		if err := audit.See(by, access.ChangeAccount, p.user.Org, p.user.ID, "user/"+string(p.user.ID)); err != nil {
			return err
		}
		if len(p.passkeys) >= maxPasskeys {
			return errs.New(errs.Conflict, "factor.passkey.many", "max", maxPasskeys)
		}
		w, err := f.webauthn(p.user.Kind)
		if err != nil {
			return err
		}
		creation, data, err := w.BeginRegistration(p, webauthn.WithExclusions(p.descriptors()))
		if err != nil {
			return fmt.Errorf("beginning to make a passkey: %w", err)
		}
		options, err = begin(ctx, tx, by.User, by.Session, toEnrol, creation, data)
		return err
	})
	return options, err
}

// FinishEnrol stores the passkey that the browser made, under a name.
func (f *Factors) FinishEnrol(ctx context.Context, by access.Caller, name string, response []byte) (Passkey, error) {
	name, err := cleanName(name)
	if err != nil {
		return Passkey{}, err
	}
	data, err := f.take(ctx, by.User, by.Session, toEnrol)
	if err != nil {
		return Passkey{}, err
	}
	answer, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return Passkey{}, refusedPasskey(err)
	}
	var made Passkey
	err = f.DB.Write(ctx, func(tx *db.Tx) error {
		p, err := findPerson(ctx, tx, by.User)
		if err != nil {
			return err
		}
		w, err := f.webauthn(p.user.Kind)
		if err != nil {
			return err
		}
		credential, err := w.CreateCredential(p, data, answer)
		if err != nil {
			return refusedPasskey(err)
		}
		made = Passkey{ID: base64.RawURLEncoding.EncodeToString(credential.ID), Name: name, CreatedAt: tx.Now(), credential: *credential}
		return f.insert(ctx, tx, by, made)
	})
	return made, err
}

func (f *Factors) insert(ctx context.Context, tx *db.Tx, by access.Caller, p Passkey) error {
	if err := f.changed(ctx, tx, by, "passkey_added", audit.Change("second_factor", nil, ByPasskey), audit.Note("passkey", p.ID), audit.Note("name", p.Name)); err != nil {
		return err
	}
	text, err := json.Marshal(p.credential)
	if err != nil {
		return fmt.Errorf("storing a passkey: %w", err)
	}
	n, err := tx.Changed(ctx, `INSERT INTO passkeys (id, user_id, name, credential, created_at, last_used_at) VALUES ($1, $2, $3, $4, $5, 0)
		ON CONFLICT (id) DO NOTHING`, p.credential.ID, by.User, p.Name, string(text), db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("storing a passkey: %w", err)
	}
	if n == 0 {
		return errs.New(errs.Conflict, "factor.passkey.taken")
	}
	return nil
}

// BeginProof begins to ask for one of an account's passkeys, in a login session
// of it, and returns what the browser's navigator.credentials.get wants, as JSON.
func (f *Factors) BeginProof(ctx context.Context, id accounts.ID, session string) (json.RawMessage, error) {
	var options json.RawMessage
	err := f.DB.Write(ctx, func(tx *db.Tx) error {
		p, err := findPerson(ctx, tx, id)
		if err != nil {
			return err
		}
		if len(p.passkeys) == 0 {
			return errs.New(errs.Conflict, "factor.passkey.none")
		}
		w, err := f.webauthn(p.user.Kind)
		if err != nil {
			return err
		}
		assertion, data, err := w.BeginLogin(p)
		if err != nil {
			return fmt.Errorf("beginning to ask for a passkey: %w", err)
		}
		options, err = begin(ctx, tx, id, session, toProve, assertion, data)
		return err
	})
	return options, err
}

// FinishProof checks the browser's answer to BeginProof. The question is used
// up by it, whatever comes out. A wrong answer is Unauthenticated,
// factor.passkey.refused.
func (f *Factors) FinishProof(ctx context.Context, id accounts.ID, session string, response []byte) error {
	data, err := f.take(ctx, id, session, toProve)
	if err != nil {
		return err
	}
	answer, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return refusedPasskey(err)
	}
	return f.DB.Write(ctx, func(tx *db.Tx) error {
		p, err := findPerson(ctx, tx, id)
		if err != nil {
			return err
		}
		w, err := f.webauthn(p.user.Kind)
		if err != nil {
			return err
		}
		credential, err := w.ValidateLogin(p, data, answer)
		if err != nil {
			return refusedPasskey(err)
		}
		if credential.Authenticator.CloneWarning {
			return errs.New(errs.Forbidden, "factor.passkey.cloned")
		}
		return used(ctx, tx, credential)
	})
}

func used(ctx context.Context, tx *db.Tx, c *webauthn.Credential) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("noting the use of a passkey: %w", err)
	}
	_, err = tx.Exec(ctx, "UPDATE passkeys SET credential = $2, last_used_at = $3 WHERE id = $1", c.ID, string(text), db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("noting the use of a passkey: %w", err)
	}
	return nil
}

// begin stores a ceremony, in place of one for the same that was not finished.
func begin(ctx context.Context, tx *db.Tx, id accounts.ID, session, purpose string, options any, data *webauthn.SessionData) (json.RawMessage, error) {
	stored, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("storing a passkey ceremony: %w", err)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM passkey_ceremonies WHERE session_id = $1 AND purpose = $2", session, purpose); err != nil {
		return nil, fmt.Errorf("storing a passkey ceremony: %w", err)
	}
	ceremony, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("storing a passkey ceremony: %w", err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO passkey_ceremonies (id, user_id, session_id, purpose, data, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
		ceremony.String(), id, session, purpose, string(stored), db.Micros(tx.Now().Add(ceremonyLife)))
	if err != nil {
		return nil, fmt.Errorf("storing a passkey ceremony: %w", err)
	}
	return json.Marshal(options)
}

// take uses a ceremony up: in a transaction of its own, so that it stays used
// when the answer turns out to be wrong.
func (f *Factors) take(ctx context.Context, id accounts.ID, session, purpose string) (data webauthn.SessionData, err error) {
	var stored string
	err = f.DB.Write(ctx, func(tx *db.Tx) error {
		return tx.QueryRow(ctx, `DELETE FROM passkey_ceremonies WHERE user_id = $1 AND session_id = $2 AND purpose = $3 AND expires_at > $4
			RETURNING data`, id, session, purpose, db.Micros(tx.Now())).Scan(&stored)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return data, errs.New(errs.Gone, "factor.passkey.over")
	}
	if err != nil {
		return data, fmt.Errorf("looking for a passkey ceremony: %w", err)
	}
	if err := json.Unmarshal([]byte(stored), &data); err != nil {
		return data, fmt.Errorf("reading a passkey ceremony: %w", err)
	}
	return data, nil
}

func refusedPasskey(cause error) error {
	return errs.New(errs.Unauthenticated, "factor.passkey.refused").Because(cause)
}

// webauthn speaks for the address that accounts of a kind have. The authenticator has to see that
// it is its owner (PIN, finger, face) each time, so that a found device alone
// opens nothing.
func (f *Factors) webauthn(kind access.Kind) (*webauthn.WebAuthn, error) {
	host, origin, err := f.site(kind)
	if err != nil {
		return nil, err
	}
	timeout := webauthn.TimeoutConfig{Timeout: ceremonyLife, TimeoutUVD: ceremonyLife}
	w, err := webauthn.New(&webauthn.Config{
		RPID: host, RPOrigins: []string{origin}, RPDisplayName: f.Name,
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			UserVerification: protocol.VerificationRequired, ResidentKey: protocol.ResidentKeyRequirementPreferred,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},
	})
	if err != nil {
		return nil, fmt.Errorf("passkeys for %s: %w", origin, err)
	}
	return w, nil
}

// person is an account as the library wants it.
type person struct {
	user     accounts.User
	passkeys []Passkey
}

var _ webauthn.User = person{}

func findPerson(ctx context.Context, tx *db.Tx, id accounts.ID) (person, error) {
	u, err := accounts.Find(ctx, tx, id)
	if err != nil {
		return person{}, err
	}
	list, err := passkeys(ctx, tx, id)
	return person{u, list}, err
}

// WebAuthnID is the account's id, which says nothing about its owner.
func (p person) WebAuthnID() []byte { return []byte(p.user.ID) }

// WebAuthnName is what the owner's device lists the passkey under.
func (p person) WebAuthnName() string { return p.user.Username }

// WebAuthnDisplayName is the same in a friendlier way.
func (p person) WebAuthnDisplayName() string { return p.user.Name() }

// WebAuthnCredentials are the passkeys that the account has.
func (p person) WebAuthnCredentials() []webauthn.Credential {
	list := make([]webauthn.Credential, len(p.passkeys))
	for i := range p.passkeys {
		list[i] = p.passkeys[i].credential
	}
	return list
}

func (p person) descriptors() []protocol.CredentialDescriptor {
	list := make([]protocol.CredentialDescriptor, len(p.passkeys))
	for i := range p.passkeys {
		list[i] = p.passkeys[i].credential.Descriptor()
	}
	return list
}
