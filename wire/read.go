package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"
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
			return c.lost(errNoProgress)
		}
	}
	return nil
}

// errNoProgress ends a read that the server answers without records.
var errNoProgress = errors.New("the server sent fewer records than were asked for")

func (c *Client) readSome(ctx context.Context, userToken string, ids []backup.ID, left map[backup.ID]bool, each func(backup.Kind, backup.ID, []byte) error) error {
	req := call{
		method: http.MethodPost, path: "read", auth: deviceToken, user: userToken, heavy: receives, think: 30 * time.Second,
		body: func() (io.Reader, int64) {
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

// Fetch returns the snapshot's objects over the wire, as catalog and restore
// read them. scope is the one that content is sealed with, as it stands in the
// manifest; metadata always has the user's.
func (u *User) Fetch(user, scope backup.UUID) backup.FetchFunc {
	content, metadata := crypt.NewFetch(scope, u.Read), crypt.NewFetch(user, u.Read)
	return func(ctx context.Context, kind backup.Kind, refs []backup.Ref, each func(i int, plain []byte) error) error {
		if kind == backup.Data {
			return content(ctx, kind, refs, each)
		}
		return metadata(ctx, kind, refs, each)
	}
}

// Read is Client.Read with a token that is good. One that ends while a slow read goes
// on is replaced when the read breaks off and has to be asked for again.
func (u *User) Read(ctx context.Context, ids []backup.ID, each func(backup.Kind, backup.ID, []byte) error) error {
	done := make(map[backup.ID]bool, len(ids))
	for renewed := false; ; renewed = true {
		token, err := u.current(ctx)
		if err != nil {
			return err
		}
		err = u.c.Read(ctx, token, ids, func(kind backup.Kind, id backup.ID, sealed []byte) error {
			done[id] = true
			return each(kind, id, sealed)
		})
		if renewed || u.granted != "" || errs.KindOf(err) != errs.Unauthenticated {
			return err
		}
		u.forget(token)
		ids = slices.DeleteFunc(slices.Clone(ids), func(id backup.ID) bool { return done[id] })
	}
}
