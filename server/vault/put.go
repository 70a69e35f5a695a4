package vault

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/admission"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/wire"
)

// packName is where a pack lies in the store.
func packName(name string) string { return "packs/" + name[:2] + "/" + name }

// Put takes records from body until it ends, stores those that the vault does
// not have in a pack, and answers when they are durable and indexed. A record
// that is held already is answered like one that is new.
//
// Put is idempotent by its putID, 32 hex digits: a repeated one that was
// finished gets the first answer, after its body was read.
//
// What has arrived is settled also when nobody waits for the answer any more. Of
// a body that is cut off the records count that came whole, as if they had been
// all, unless they are under leastKept; Put fails all the same. When it fails for
// any other reason, nothing of it counts.
//
// A device without a place among those that back up is E1402 before its body is
// read; it may have lost the one with which the session began.
//
// Contents that do not fit into a quota are E1401: before the body is read where
// that is clear by what size says, or else at its end.
func (v *Vault) Put(ctx context.Context, by access.Caller, id, putID string, class backup.Class, size Size, body io.Reader) (wire.PutAnswer, error) {
	if _, err := hex.DecodeString(putID); err != nil || len(putID) != 32 {
		return wire.PutAnswer{}, errs.New(errs.Invalid, "put.id")
	}
	var s session
	var org int64
	var first *wire.PutAnswer
	var placed bool
	err := v.db.Read(ctx, func(tx *db.Tx) (err error) {
		if s, err = openSession(ctx, tx, by, id); err != nil {
			return err
		}
		if org, err = orgNumber(ctx, tx, s.org); err != nil {
			return err
		}
		if first, err = answered(ctx, tx, id, putID); err != nil || first != nil {
			return err
		}
		if placed, err = admission.Has(ctx, tx, by.Device); err != nil || class != backup.ClassData {
			return err
		}
		return devices.MaySend(ctx, tx, by, size.Snapshot, size.Put)
	})
	if err != nil {
		return wire.PutAnswer{}, err
	}
	if first != nil {
		return *first, drain(body)
	}
	if !placed {
		if err := v.line.Enter(ctx, by); err != nil {
			return wire.PutAnswer{}, err
		}
	}
	// The body ends with its connection, and with it what follows.
	return v.put(context.WithoutCancel(ctx), by, s, org, putID, class, size, body)
}

// leastKept is how many bytes of whole records a body must have brought before it
// was cut off to be worth a pack: a line that breaks all the time must not fill
// the store with tiny ones. No piece of a large file is smaller, but for its last,
// before it is compressed.
const leastKept = 256 << 10

// Size is what a device says of a put before it is read. Nothing rests on it but
// that an honest device is told in time.
type Size struct {
	Snapshot int64 // bytes of files that the snapshot will have for which the put is
	Put      int64 // bytes of the put, 0 when it is not said
}

// answered is the answer that a finished put was given, nil when there is none.
func answered(ctx context.Context, tx *db.Tx, id, putID string) (*wire.PutAnswer, error) {
	var text string
	err := tx.QueryRow(ctx, `SELECT answer FROM puts WHERE session = $1 AND put_id = $2`, id, putID).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for put %s: %w", putID, err)
	}
	answer := new(wire.PutAnswer)
	if err := json.Unmarshal([]byte(text), answer); err != nil {
		return nil, fmt.Errorf("reading the answer of put %s: %w", putID, err)
	}
	return answer, nil
}

func drain(body io.Reader) error {
	if _, err := io.Copy(io.Discard, body); err != nil {
		return broken(err)
	}
	return nil
}

// broken is the failure of a body that did not arrive.
func broken(err error) error {
	if errs.Find(err) != nil && !errs.Is(err, errs.Mismatch) {
		return err
	}
	return errs.New(errs.Invalid, "put.body").Because(err)
}

// errNothingNew stops a pack that would have no records.
var errNothingNew = errors.New("nothing new in this put")

func (v *Vault) put(ctx context.Context, by access.Caller, s session, org int64, putID string, class backup.Class, size Size, body io.Reader) (wire.PutAnswer, error) {
	var random [16]byte
	rand.Read(random[:])
	name := hex.EncodeToString(random[:])
	h, err := packHead(s, class, uint64(db.Micros(v.db.Now())))
	if err != nil {
		return wire.PutAnswer{}, err
	}
	r := &receiver{ctx: ctx, v: v, org: org, class: class, snapshot: size.Snapshot, seen: map[backup.ID]bool{}}
	err = v.blobs.Put(ctx, packName(name), func(w io.Writer) error {
		buffered := bufio.NewWriterSize(w, 64<<10)
		if r.pack, err = pack.NewWriter(buffered, h); err != nil {
			return err
		}
		if err := r.receive(body); err != nil {
			return err
		}
		if r.cut != nil && r.size < leastKept {
			return r.cut
		}
		if len(r.pack.Entries()) == 0 {
			return errNothingNew
		}
		if err := r.pack.Close(); err != nil {
			return err
		}
		return buffered.Flush()
	})
	stored := err == nil
	if err != nil && !errors.Is(err, errNothingNew) {
		return wire.PutAnswer{}, fmt.Errorf("receiving a put: %w", err)
	}
	answer := wire.PutAnswer{Records: r.records, Rejected: r.rejected}
	refused := false
	err = v.db.Write(ctx, func(tx *db.Tx) error {
		refused = true
		if err := v.settle(ctx, tx, by, s.id, putID, r, name, stored, &answer); err != nil {
			return err
		}
		refused = false
		return nil
	})
	if err != nil && refused && stored {
		// The transaction ended before it was committed, so nothing names the
		// pack. After a failed commit nobody can know; the collector finds out.
		v.discard(ctx, packName(name))
	}
	if errors.Is(err, errRepeated) {
		return answer, nil
	}
	if err != nil {
		return wire.PutAnswer{}, err
	}
	v.log.DebugContext(ctx, "put is stored", "backup_session", s.id, "put", putID, "class", class.String(),
		"records", r.records, "bytes", r.size, "held", len(r.held), "rejected", len(r.rejected), "cut", r.cut != nil)
	if r.cut != nil {
		return wire.PutAnswer{}, r.cut
	}
	return answer, nil
}

func packHead(s session, class backup.Class, now uint64) (pack.Head, error) {
	ids, err := parseIDs(string(s.org), string(s.user), string(s.device))
	if err != nil {
		return pack.Head{}, fmt.Errorf("beginning a pack: %w", err)
	}
	return pack.Head{Class: class, Time: now, Org: ids[0], User: ids[1], Device: ids[2]}, nil
}

// errRepeated says that the same put was finished by another request meanwhile.
var errRepeated = errors.New("this put was finished meanwhile")

// settle makes a put count.
func (v *Vault) settle(ctx context.Context, tx *db.Tx, by access.Caller, id, putID string, r *receiver, name string, stored bool, answer *wire.PutAnswer) error {
	s, err := openSession(ctx, tx, by, id)
	if err != nil {
		return err
	}
	if err := stillActive(ctx, tx, by); err != nil {
		return err
	}
	first, err := answered(ctx, tx, id, putID)
	if err != nil {
		return err
	}
	if first != nil {
		*answer = *first
		return errRepeated
	}
	if r.class == backup.ClassData {
		// Whoever else has an object, its sender pays for it.
		if err := devices.Claim(ctx, tx, by, r.snapshot, r.size); err != nil {
			return err
		}
	}
	org, err := numberOrg(ctx, tx, s.org)
	if err != nil {
		return err
	}
	refs, err := stillHeld(ctx, tx, org, r.held)
	if err != nil {
		return err
	}
	if stored {
		number, err := v.addPack(ctx, tx, s, org, r, name)
		if err != nil {
			return err
		}
		fresh, err := index(ctx, tx, org, number, r.pack.Entries())
		if err != nil {
			return err
		}
		refs.Or(fresh)
	}
	raw, err := encode(refs)
	if err != nil {
		return err
	}
	if r.cut != nil {
		// Nobody can ask for this name, so that the put under its own is still to
		// come; and one put can be cut off more than once.
		putID = "cut " + name
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encoding a put's answer: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO puts (session, put_id, answer, created_at, refs) VALUES ($1, $2, $3, $4, $5)`,
		s.id, putID, string(text), db.Micros(tx.Now()), raw)
	if err != nil {
		return fmt.Errorf("recording put %s: %w", putID, err)
	}
	return nil
}

// stillHeld finds the rows of objects that were not written because the vault
// had them. If the collector has condemned one since, its bytes are gone and
// the whole put has to be sent again.
func stillHeld(ctx context.Context, tx *db.Tx, org int64, held []backup.ID) (*roaring.Bitmap, error) {
	set := roaring.New()
	err := lookup(ctx, tx, org, held, func(_ backup.ID, r row) {
		if r.state == sound {
			set.Add(r.number)
		}
	})
	if err == nil && set.GetCardinality() != uint64(len(held)) {
		err = errs.Of(errs.ServerBusy, "n", 1)
	}
	return set, err
}

func (v *Vault) addPack(ctx context.Context, tx *db.Tx, s session, org int64, r *receiver, name string) (int64, error) {
	epoch, _, err := counters(ctx, tx)
	if err != nil {
		return 0, err
	}
	var number int64
	err = tx.QueryRow(ctx, `INSERT INTO packs (name, org, user_id, device, class, state, size, records, epoch, created_at, verified_at)
		VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, 0) RETURNING number`,
		name, org, string(s.user), string(s.device), int64(r.class), r.pack.Size(), len(r.pack.Entries()), epoch,
		db.Micros(tx.Now())).Scan(&number)
	if err != nil {
		return 0, fmt.Errorf("adding pack %s: %w", name, err)
	}
	return number, nil
}

// receiver takes the records of one put.
type receiver struct {
	ctx   context.Context
	v     *Vault
	org   int64
	class backup.Class
	pack  *pack.Writer

	snapshot int64 // what the snapshot will have, by the device's word

	cut      error // why the body ended too early, nil when it did not
	size     int64
	records  int
	rejected []wire.Rejected
	seen     map[backup.ID]bool
	held     []backup.ID

	// Small records wait here to be looked up together.
	waiting []pack.Record
	bytes   []byte
}

// Records are looked up when so many bytes or records wait. A larger one does
// not wait, and is not copied.
const (
	groupBytes   = 256 << 10
	groupRecords = batch
)

func (r *receiver) receive(body io.Reader) error {
	in := pack.NewReader(bufio.NewReaderSize(body, 64<<10), false)
	for {
		rec, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && errs.Find(err) == nil {
			r.cut = broken(err)
			break
		}
		if err != nil {
			return broken(err)
		}
		if r.size += int64(pack.RecordHead + len(rec.Sealed)); r.size > wire.PackBytes {
			return errs.New(errs.TooLarge, "put.size")
		}
		r.records++
		if err := r.take(rec); err != nil {
			return err
		}
	}
	if r.records == 0 && r.cut == nil {
		return errs.New(errs.Invalid, "put.body")
	}
	return r.decide()
}

// take checks a record and keeps it until it is known whether it is new.
func (r *receiver) take(rec pack.Record) error {
	if rec.Kind.Class() != r.class {
		r.reject(rec, "kind")
		return nil
	}
	if sha256.Sum256(rec.Sealed) != rec.ID {
		r.reject(rec, "hash")
		return nil
	}
	if r.seen[rec.ID] {
		return nil
	}
	r.seen[rec.ID] = true
	if len(r.bytes)+len(rec.Sealed) > groupBytes || len(r.waiting) == groupRecords {
		if err := r.decide(); err != nil {
			return err
		}
	}
	if len(rec.Sealed) <= groupBytes/2 {
		at := len(r.bytes)
		r.bytes = append(slices.Grow(r.bytes, groupBytes-at), rec.Sealed...)
		rec.Sealed = r.bytes[at:]
		r.waiting = append(r.waiting, rec)
		return nil
	}
	r.waiting = append(r.waiting, rec)
	return r.decide()
}

func (r *receiver) reject(rec pack.Record, reason string) {
	r.rejected = append(r.rejected, wire.Rejected{ID: rec.ID.String(), Reason: reason})
}

// decide writes those of the waiting records that the vault does not hold.
func (r *receiver) decide() error {
	ids := make([]backup.ID, len(r.waiting))
	for i, rec := range r.waiting {
		ids[i] = rec.ID
	}
	held := map[backup.ID]bool{}
	if r.org != 0 && len(ids) > 0 {
		err := r.v.db.Read(r.ctx, func(tx *db.Tx) error {
			return lookup(r.ctx, tx, r.org, ids, func(id backup.ID, row row) { held[id] = row.state == sound })
		})
		if err != nil {
			return err
		}
	}
	for _, rec := range r.waiting {
		if held[rec.ID] {
			r.held = append(r.held, rec.ID)
			continue
		}
		if err := r.pack.Add(rec.Kind, rec.ID, rec.Sealed); err != nil {
			return err
		}
	}
	r.waiting, r.bytes = r.waiting[:0], r.bytes[:0]
	return nil
}
