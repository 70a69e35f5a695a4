package vault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
)

// Taken is what somebody takes out of a snapshot: some children of one folder,
// with everything in them, as an archive or, when it is one file, as it is.
type Taken struct {
	Folder  string   // "/" or "/a/b"
	Names   []string // in a record at most the first 20
	Count   int      // all of them; Took counts
	Archive bool
}

// record is what is sealed of it. Names are any bytes.
func (t Taken) record() ([]byte, error) {
	r := takenRecord{Folder: []byte(t.Folder), Count: t.Count, Archive: t.Archive}
	for _, name := range t.Names {
		r.Names = append(r.Names, []byte(name))
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("recording a download: %w", err)
	}
	return text, nil
}

type takenRecord struct {
	Folder  []byte   `json:"folder"`
	Names   [][]byte `json:"names"`
	Count   int      `json:"count"`
	Archive bool     `json:"archive"`
}

// maxTaken is how many names the record of one archive has.
const maxTaken = 20

// remembered is how many records an opening knows again, so that a file that
// is fetched in many parts makes one.
const remembered = 1000

// Took records that by takes something out of a snapshot that was opened for
// them, before they get it. What is not recorded must not be handed out. The
// same again within one opening is one record. Names of files stand in it
// sealed, for the owner alone: neither the database nor the audit of
// administrators tells them.
func (v *Vault) Took(ctx context.Context, by access.Caller, o *Opened, t Taken) error {
	t.Count = len(t.Names)
	all, err := t.record()
	if err != nil {
		return err
	}
	mark := hash(all)
	if v.openings.knows(o.opening, mark) {
		return nil
	}
	t.Names = t.Names[:min(len(t.Names), maxTaken)]
	text, err := t.record()
	if err != nil {
		return err
	}
	sealed, err := v.keys.Seal(takenBy(o.User), text)
	if err != nil {
		return err
	}
	err = v.db.Write(ctx, func(tx *db.Tx) error {
		if err := accounts.MayOpen(ctx, tx, by, o.User, "snapshot/"+o.Hash.String()); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{Action: access.Download, Org: o.Org, Owner: o.User, Object: "snapshot/" + o.Hash.String(),
			Outcome: audit.Done, Details: []audit.Detail{audit.Note("device", o.Device), audit.Note("archive", t.Archive), audit.Note("count", t.Count),
				audit.Note(sealedNote, base64.StdEncoding.EncodeToString(sealed))}})
	})
	if err != nil {
		return err
	}
	v.openings.learn(o.opening, mark)
	return nil
}

const sealedNote = "sealed_names"

func takenBy(owner access.UserID) string { return "download from the backups of " + string(owner) }

// TakenIn is what a record of Took names, for the owner; false for everybody
// else and for every other record.
func (v *Vault) TakenIn(by access.Caller, row audit.Row) (t Taken, ok bool) {
	if row.Action != access.Download || by.Kind != access.UserKind || !access.Allow(by, access.ReadOwnData, row.Org, row.Owner) {
		return Taken{}, false
	}
	for _, d := range row.Details {
		if text, is := d.After.(string); is && d.Name == sealedNote {
			t, err := v.unseal(row.Owner, text)
			if err != nil {
				v.log.Error("a record of a download does not open", "row", row.Seq, "error", err)
			}
			return t, err == nil
		}
	}
	return Taken{}, false
}

func (v *Vault) unseal(owner access.UserID, text string) (t Taken, err error) {
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return t, err
	}
	plain, err := v.keys.Unseal(takenBy(owner), sealed)
	if err != nil {
		return t, err
	}
	var r takenRecord
	if err := json.Unmarshal(plain, &r); err != nil {
		return t, err
	}
	t = Taken{Folder: string(r.Folder), Count: r.Count, Archive: r.Archive}
	for _, name := range r.Names {
		t.Names = append(t.Names, string(name))
	}
	return t, nil
}

func (o *openings) knows(e *opening, taken backup.Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return e.taken[taken]
}

func (o *openings) learn(e *opening, taken backup.Hash) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.taken == nil {
		e.taken = map[backup.Hash]bool{}
	}
	if len(e.taken) < remembered {
		e.taken[taken] = true
	}
}
