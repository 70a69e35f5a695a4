package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/version"
)

// Hello asks the server who it is, once and without patience: it is how an
// address that somebody typed is tried. It checks the clocks and that this
// client is not too old.
func (c *Client) Hello(ctx context.Context) (out Hello, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: "hello", once: true}, func(_ *http.Response, body io.Reader) error {
		out, err = c.readHello(body)
		return err
	})
	return out, err
}

func (c *Client) readHello(body io.Reader) (out Hello, err error) {
	if err := c.decode(body, &out); err != nil {
		return Hello{}, err
	}
	if out.Version == "" {
		return Hello{}, lasting(c.foreign(errors.New("it says no version")))
	}
	if version.Less(version.Number(), out.MinClient) {
		return out, lasting(errs.Of(errs.ClientTooOld, "v", out.MinClient))
	}
	return out, nil
}

// Activate makes this computer a device. It can be repeated with the same
// request id and signing key.
func (c *Client) Activate(ctx context.Context, in Activate) (Activated, error) {
	var out Activated
	return out, c.json(ctx, call{method: http.MethodPost, path: "activate", in: in, once: true}, &out)
}

// Profile returns the settings in force, or ok false when they are still of
// version have.
func (c *Client) Profile(ctx context.Context, have int64) (p Profile, ok bool, err error) {
	err = c.json(ctx, call{method: http.MethodGet, path: "profile", auth: deviceToken, inTurn: true}, &p)
	return p, err == nil && p.Version != have, err
}

// PutStatus sends a heartbeat.
func (c *Client) PutStatus(ctx context.Context, in Status) (StatusAnswer, error) {
	var out StatusAnswer
	return out, c.json(ctx, call{method: http.MethodPut, path: "status", auth: deviceToken, in: in}, &out)
}

// Next waits up to wait for a request with a number above after, or for a
// profile newer than the server last told. It does not repeat itself: the
// agent's loop does.
func (c *Client) Next(ctx context.Context, wait time.Duration, known Known) (Next, error) {
	wait = min(wait, MaxWait*time.Second)
	query := url.Values{
		"wait":  {strconv.Itoa(int(wait / time.Second))},
		"after": {strconv.FormatInt(known.After, 10)},
	}
	if known.Locked {
		query.Set("locked", "true")
	}
	if known.Offer != "" {
		query.Set("offer", known.Offer)
	}
	var out Next
	req := call{method: http.MethodGet, path: "next?" + query.Encode(), auth: deviceToken, once: true, think: wait}
	return out, c.json(ctx, req, &out)
}

// PutOutcome says what became of a request.
func (c *Client) PutOutcome(ctx context.Context, number int64, in Outcome) error {
	return c.json(ctx, call{method: http.MethodPost, path: fmt.Sprintf("requests/%d", number), auth: deviceToken, in: in}, nil)
}

// OpenSession opens the set's backup session, or finds the unfinished one. That
// the server is busy (E1402) comes back at once, from this and every other call
// of a backup: its caller waits, for as long as Refusal.After says.
func (c *Client) OpenSession(ctx context.Context, setID string) (Session, error) {
	var out Session
	req := call{method: http.MethodPost, path: "sessions", auth: deviceToken, inTurn: true, in: OpenSession{SetID: setID}}
	return out, c.json(ctx, req, &out)
}

// Have asks which of ids, at most MaxHave, the server holds for this user.
func (c *Client) Have(ctx context.Context, session string, ids []backup.ID) ([]bool, error) {
	return c.have(ctx, "sessions/"+url.PathEscape(session)+"/have", ids)
}

// Arrived is Have after the connection of a put was cut: the server takes no more
// of that one, and counts what came of it.
func (c *Client) Arrived(ctx context.Context, session, putID string, ids []backup.ID) ([]bool, error) {
	return c.have(ctx, "sessions/"+url.PathEscape(session)+"/have?cut="+url.QueryEscape(putID), ids)
}

func (c *Client) have(ctx context.Context, path string, ids []backup.ID) ([]bool, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	out := make([]bool, len(ids))
	req := call{method: http.MethodPost, path: path, auth: deviceToken, inTurn: true, heavy: sends, body: idBody(nil, ids)}
	err := c.do(ctx, req, func(_ *http.Response, body io.Reader) error {
		answer := make([]byte, len(ids))
		if _, err := io.ReadFull(body, answer); err != nil {
			return err
		}
		for i, b := range answer {
			out[i] = b == 1
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func idBody(head []byte, ids []backup.ID) func() (io.Reader, int64) {
	data := make([]byte, 0, len(head)+32*len(ids))
	data = append(data, head...)
	for i := range ids {
		data = append(data, ids[i][:]...)
	}
	return func() (io.Reader, int64) { return bytes.NewReader(data), int64(len(data)) }
}

// Put sends a pack's records under putID, 32 hex digits that name this put and
// no other. size is how many bytes of files the snapshot will have for which it
// is, as far as is known by now: the quota rests on that. body gives the records
// and how many bytes they are, -1 when that is not known.
//
// When the put fails on its way, again is called, and the put is sent again, with
// what body gives by then: Arrived tells what need not be in it. An error of again
// ends the put. Without again it is not sent again.
func (c *Client) Put(ctx context.Context, session, putID string, class backup.Class, size int64, body func() (io.Reader, int64), again func(context.Context) error) (PutAnswer, error) {
	var out PutAnswer
	req := call{
		method: http.MethodPut, auth: deviceToken, inTurn: true, heavy: sends, expect: true, think: 30 * time.Second,
		path: "sessions/" + url.PathEscape(session) + "/packs/" + url.PathEscape(putID) + "?class=" + class.String() + "&size=" + strconv.FormatInt(size, 10),
		body: body, once: again == nil, again: again,
	}
	return out, c.json(ctx, req, &out)
}

// Commit makes the snapshot visible, or fails with E1507 and the missing ids
// among its arguments; Missing reads them. With files that wait, a partial
// snapshot ends the session; with folders that were not read, a complete one does
// not make the device protected.
func (c *Client) Commit(ctx context.Context, session string, manifest, refs []byte, lacking Lacking) (Committed, error) {
	var out Committed
	req := call{
		method: http.MethodPost, path: fmt.Sprintf("sessions/%s/commit?waiting=%d&carried=%d", url.PathEscape(session), lacking.Waiting, lacking.Carried), auth: deviceToken, inTurn: true, heavy: sends,
		think: 5 * time.Minute, // ten million references take a while to check
		body: func() (io.Reader, int64) {
			var a [4]byte
			var b [8]byte
			binary.BigEndian.PutUint32(a[:], uint32(len(manifest)))
			binary.BigEndian.PutUint64(b[:], uint64(len(refs)))
			r := io.MultiReader(bytes.NewReader(a[:]), bytes.NewReader(manifest), bytes.NewReader(b[:]), bytes.NewReader(refs))
			return r, int64(12 + len(manifest) + len(refs))
		},
	}
	return out, c.json(ctx, req, &out)
}

// Leave tells the server, once, that this device's backup has stopped before its
// end: others may have its turn.
func (c *Client) Leave(ctx context.Context) error {
	return c.json(ctx, call{method: http.MethodDelete, path: "turn", auth: deviceToken, once: true}, nil)
}

// Missing lists the ids that a refused commit lacks; nil when err is something
// else. There may be more than are listed.
func Missing(err error) []backup.ID {
	e := errs.Find(err)
	if e == nil || e.Code != errs.MissingObjects {
		return nil
	}
	list, _ := e.Args["missing"].([]any)
	ids := make([]backup.ID, 0, len(list))
	for _, item := range list {
		text, _ := item.(string)
		if id, err := backup.ParseID(text); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Snapshots lists the device's snapshots, newest first.
func (c *Client) Snapshots(ctx context.Context) ([]Snapshot, error) {
	var out Snapshots
	err := c.json(ctx, call{method: http.MethodGet, path: "snapshots", auth: deviceToken}, &out)
	return out.Snapshots, err
}

// UserToken proves that the device's user is present, once and without
// repeating: a wrong password counts.
// The token before it, when there is one and it is still good, stands for the
// second factor.
func (c *Client) UserToken(ctx context.Context, in UserTokenRequest, before string) (Token, error) {
	var out Token
	req := call{method: http.MethodPost, path: "user-token", auth: deviceToken, user: before, in: in, once: true}
	return out, c.json(ctx, req, &out)
}

// BeginRestore permits this device to fetch what the computer had that it
// replaced, beside its backups. userToken is that of the device's user.
func (c *Client) BeginRestore(ctx context.Context, userToken string) (RestoreGrant, error) {
	var out RestoreGrant
	return out, c.json(ctx, call{method: http.MethodPost, path: "restores", auth: deviceToken, user: userToken, once: true}, &out)
}

// OpenSnapshot asks for a snapshot's root, sealed to recipientKey.
func (c *Client) OpenSnapshot(ctx context.Context, userToken, hash string, recipientKey []byte) (Opening, error) {
	var out Opening
	req := call{method: http.MethodPost, path: "snapshots/" + url.PathEscape(hash) + "/open", auth: deviceToken, user: userToken,
		in: Open{RecipientKey: recipientKey}}
	return out, c.json(ctx, req, &out)
}
