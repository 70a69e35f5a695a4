package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/errs"
)

// Read fetches sealed objects, at most MaxHave distinct ids, and hands each to
// each in the order in which the server sends them. An object that is not this
// user's, or lost, comes with kind backup.Missing and nothing. sealed is valid
// during the call only. Nothing is checked here but lengths: opening an object
// checks it.
//
// A read that breaks off goes on with the ids that are still missing. An error
// of each ends it.
func (c *Client) Read(ctx context.Context, userToken string, ids []backup.ID, each func(kind backup.Kind, id backup.ID, sealed []byte) error) error {
	left := make(map[backup.ID]bool, len(ids))
	for _, id := range ids {
		left[id] = true
	}
	for len(left) > 0 {
		before := len(left)
		if err := c.readSome(ctx, userToken, ids, left, each); err != nil {
			return err
		}
		if len(left) == before {
			return connectError(c.base.Host, errNoProgress)
		}
	}
	return nil
}

func (c *Client) readSome(ctx context.Context, userToken string, ids []backup.ID, left map[backup.ID]bool, each func(backup.Kind, backup.ID, []byte) error) error {
	req := call{
		method: http.MethodPost, path: "read", auth: deviceToken, user: userToken, think: 30 * time.Second,
		body: func() (io.Reader, int64, error) {
			wanted := make([]backup.ID, 0, len(left))
			for _, id := range ids {
				if left[id] {
					wanted = append(wanted, id)
				}
			}
			return idBody(binary.BigEndian.AppendUint32(nil, uint32(len(wanted))), wanted)()
		},
	}
	return c.do(ctx, req, func(_ *http.Response, body io.Reader) error {
		return readRecords(body, func(kind backup.Kind, id backup.ID, sealed []byte) error {
			if !left[id] {
				return nil // an id asked for twice, or never
			}
			delete(left, id)
			return each(kind, id, sealed)
		})
	})
}

// readRecords reads a stream of records, format.md section 9, to its end.
func readRecords(r io.Reader, each func(backup.Kind, backup.ID, []byte) error) error {
	records := pack.NewReader(bufio.NewReaderSize(r, 64<<10), true)
	for {
		rec, err := records.Next()
		switch {
		case err == io.EOF:
			return nil
		case errs.Is(err, errs.Mismatch):
			return lasting(err)
		case err != nil:
			return err
		}
		if err := each(rec.Kind, rec.ID, rec.Sealed); err != nil {
			return lasting(err)
		}
	}
}

// errLost says that the server no longer has what a snapshot needs.
var errLost = errors.New("the server no longer has it")

// Fetch returns the snapshot's objects over the wire, as catalog and restore
// read them. scope is the one that the objects are sealed with, as it stands in
// the manifest; metadata always has the user's.
func (u *User) Fetch(user, scope backup.UUID) backup.FetchFunc {
	return func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(i int, plain []byte) error) error {
		sealedWith := user
		if kind == backup.Data {
			sealedWith = scope
		}
		var bad error
		for start := 0; start < len(refs); start += MaxHave {
			f := fetch{u: u, scope: sealedWith, kind: kind, first: start, each: each}
			if err := f.run(ctx, refs[start:min(start+MaxHave, len(refs))]); err != nil {
				return err
			}
			bad = errors.Join(bad, f.bad)
		}
		return bad
	}
}

// fetch is one read of at most MaxHave objects.
type fetch struct {
	u     *User
	scope backup.UUID
	kind  backup.Kind
	first int // index of refs[0] for each
	each  func(i int, plain []byte) error
	plain []byte
	bad   error // the first object that could not be had
}

func (f *fetch) run(ctx context.Context, refs []backup.Ref) error {
	at := make(map[backup.ID][]int, len(refs))
	ids := make([]backup.ID, 0, len(refs))
	for i, ref := range refs {
		if at[ref.ID] == nil {
			ids = append(ids, ref.ID)
		}
		at[ref.ID] = append(at[ref.ID], i)
	}
	token, err := f.u.current(ctx)
	if err != nil {
		return err
	}
	return f.u.c.Read(ctx, token, ids, func(kind backup.Kind, id backup.ID, sealed []byte) error {
		for _, i := range at[id] {
			if err := f.one(kind, i, refs[i], sealed); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *fetch) one(kind backup.Kind, i int, ref backup.Ref, sealed []byte) error {
	if kind == backup.Missing {
		f.fail(ref, errLost)
		return nil
	}
	// The kind that was expected, not the one that was sent: it is bound into
	// the object.
	plain, err := crypt.Open(f.plain[:0], f.scope, f.kind, ref, sealed)
	if err != nil {
		f.fail(ref, err)
		return nil
	}
	f.plain = plain
	return f.each(f.first+i, plain)
}

func (f *fetch) fail(ref backup.Ref, err error) {
	if f.bad == nil {
		f.bad = errs.Of(errs.Mismatch).Because(fmt.Errorf("object %s: %w", ref.ID, err))
	}
}
