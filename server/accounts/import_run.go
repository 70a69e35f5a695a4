package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/passwords"
)

// runAtOnce is how many users are made in one transaction: enough that the
// transactions cost little, and few enough that nobody waits for one.
const runAtOnce = 25

// silence is how long nothing is heard of a run before it counts as stopped: its
// server went away without saying so.
const silence = 2 * time.Minute

// halt makes an import that nothing is heard of one that may be run again.
func (i *Import) halt(now time.Time) {
	if i.State == ImportRunning && now.Sub(i.RunAt) > silence {
		i.State = ImportChecked
	}
}

// Run is an import that began.
type Run struct {
	Import

	d       *db.DB
	by      access.Caller
	ring    *keys.Ring
	hasher  *passwords.Hasher
	address string
	command func(username string) string // see InviteOptions
}

// BeginImport takes an import for whoever calls Finish next; nobody else may run
// it meanwhile. address is the server's, for the links, and command that by
// which a user activates a computer.
func BeginImport(ctx context.Context, d *db.DB, by access.Caller, ring *keys.Ring, h *passwords.Hasher, address, id string, command func(username string) string) (*Run, error) {
	run := &Run{d: d, by: by, ring: ring, hasher: h, address: address, command: command}
	err := d.Write(ctx, func(tx *db.Tx) (err error) {
		if run.Import, err = FindImport(ctx, tx, by, id); err != nil {
			return err
		}
		switch run.State {
		case ImportDone:
			return errs.New(errs.Conflict, "import.done")
		case ImportRunning:
			return errs.New(errs.Conflict, "import.running")
		}
		run.State, run.Done = ImportRunning, 0
		return run.note(ctx, tx)
	})
	if err != nil {
		return nil, err
	}
	return run, nil
}

// note keeps how far the run has come, for whoever looks.
func (run *Run) note(ctx context.Context, tx *db.Tx) error {
	_, err := tx.Exec(ctx, "UPDATE user_imports SET state = $2, done = $3, run_at = $4 WHERE id = $1", run.ID, run.State, run.Done, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("noting how far import %s is: %w", run.ID, err)
	}
	return nil
}

// Finish makes the users of the good rows. Who has come since the check stays as
// they are, and a row that cannot be made any more is bad. It may be stopped by
// its context, and the import begun again: what it made by then exists.
func (run *Run) Finish(ctx context.Context) error {
	var err error
	for err == nil && run.Done < len(run.Rows) {
		err = run.makeSome(ctx, run.Rows[run.Done:min(run.Done+runAtOnce, len(run.Rows))])
	}
	if err == nil {
		err = run.d.Write(ctx, func(tx *db.Tx) error { return run.finish(ctx, tx) })
	}
	if err == nil {
		return nil
	}
	run.State = ImportChecked // others may begin again at once
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, run.d.Write(ctx, func(tx *db.Tx) error { return run.note(ctx, tx) }))
}

// makeSome makes the users of some rows in one transaction.
func (run *Run) makeSome(ctx context.Context, part []Row) error {
	secrets := make([]InviteOptions, len(part))
	for n, r := range part {
		if r.Status == RowGood && r.Mail {
			secret := passwords.Readable()
			secrets[n] = InviteOptions{Secret: secret, Hash: run.hasher.HashRandom(secret)}
			if run.command != nil {
				secrets[n].Command = run.command(r.Username)
			}
		}
	}
	var made []Row
	before := run.Done
	err := run.d.Write(ctx, func(tx *db.Tx) error {
		made, run.Done = slices.Clone(part), before+len(part)
		var mails []mail.Mail
		for n := range made {
			if made[n].Status != RowGood {
				continue
			}
			m, err := run.makeOne(ctx, tx, &made[n], secrets[n])
			if err != nil {
				return err
			}
			if m.To != "" {
				mails = append(mails, m)
			}
		}
		if err := mail.QueueAll(ctx, tx, run.ring, mails); err != nil {
			return err
		}
		return run.note(ctx, tx)
	})
	if err != nil {
		run.Done = before
		return err
	}
	copy(part, made)
	return nil
}

// makeOne makes a user who is not there yet: somebody may run the same file at
// the same time. Create refuses before it writes, so that a row that is refused
// leaves nothing in the transaction of the others. The mail is to be sent, when
// there is one.
func (run *Run) makeOne(ctx context.Context, tx *db.Tx, r *Row, opts InviteOptions) (m mail.Mail, err error) {
	u, err := FindByUsername(ctx, tx, r.Username)
	if err == nil && u.Org == run.Org && u.Kind == access.UserKind && u.State != Deleted {
		r.Status = RowExists
		return m, nil
	}
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return m, err
	}
	u, err = Create(ctx, tx, run.by, run.ring, New{Org: run.Org, Kind: access.UserKind, Username: r.Username, Email: r.Email,
		FirstName: r.FirstName, LastName: r.LastName, Language: r.Language, Profile: r.ProfileID, Licence: r.LicenceID, Quota: r.QuotaBytes})
	if err != nil {
		return m, r.refuse(err)
	}
	r.Status = RowMade
	if r.Mail {
		_, m, err = invite(ctx, tx, run.by, run.address, u, opts)
	}
	return m, err
}

// finish keeps what has become of the rows, for those who fetch the bad ones.
func (run *Run) finish(ctx context.Context, tx *db.Tx) error {
	run.State = ImportDone
	run.count()
	err := audit.Check(ctx, tx, run.by, access.ManageUsers, run.Org, "", "import/"+run.ID,
		audit.Note("made", run.Made), audit.Note("exist", run.Exists), audit.Note("bad", run.Bad))
	if err != nil {
		return err
	}
	text, err := json.Marshal(run.Rows)
	if err == nil {
		_, err = tx.Exec(ctx, "UPDATE user_imports SET rows = $2 WHERE id = $1", run.ID, string(text))
	}
	if err != nil {
		return fmt.Errorf("keeping import %s: %w", run.ID, err)
	}
	return run.note(ctx, tx)
}
