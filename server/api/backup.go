package api

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/vault"
	"github.com/backstay/backstay/wire"
)

func (a *API) openSession(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.OpenSession
	if err := read(w, r, &in); err != nil {
		return err
	}
	// It begins anew: what it had on its way, it has given up.
	if err := a.putting.giveUp(r.Context(), by.Device, ""); err != nil {
		return err
	}
	s, err := a.Vault.Begin(r.Context(), by, in.SetID)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, s)
}

func (a *API) have(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	ids, err := readIDs(w, r, false)
	if err != nil {
		return err
	}
	if put := r.URL.Query().Get("cut"); put != "" {
		if err := a.putting.giveUp(r.Context(), by.Device, put); err != nil {
			return err
		}
	}
	has, err := a.Vault.Have(r.Context(), by, r.PathValue("session"), ids)
	if err != nil {
		return err
	}
	body := make([]byte, len(has))
	for i, yes := range has {
		if yes {
			body[i] = 1
		}
	}
	w.Header().Set("Content-Type", wire.MediaTypeOctets)
	w.Write(body)
	return nil
}

// readIDs reads ids until the body ends, after their count when counted.
func readIDs(w http.ResponseWriter, r *http.Request, counted bool) ([]backup.ID, error) {
	body, err := octets(w, r, 4+32*wire.MaxHave)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, unread(err)
	}
	n := len(data) / 32
	if counted {
		if len(data) < 4 {
			return nil, errs.New(errs.Invalid, "request.body")
		}
		n, data = int(binary.BigEndian.Uint32(data)), data[4:]
	}
	if n > wire.MaxHave || len(data) != 32*n {
		return nil, errs.New(errs.Invalid, "request.body")
	}
	ids := make([]backup.ID, n)
	for i := range ids {
		copy(ids[i][:], data[32*i:])
	}
	return ids, nil
}

func (a *API) put(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	class, err := backup.ParseClass(r.URL.Query().Get("class"))
	if err != nil {
		return errs.New(errs.Invalid, "put.class").Because(err)
	}
	size, err := number(r, "size")
	if err != nil {
		return err
	}
	// One byte more, so that the vault can say what is wrong.
	body, err := octets(w, r, wire.PackBytes+1)
	if err != nil {
		return err
	}
	id := r.PathValue("put")
	put := a.putting.begin(by.Device, id, http.NewResponseController(w))
	if put == nil {
		return errs.New(errs.Unavailable, "put.busy")
	}
	defer a.putting.end(by.Device, put)
	done, err := a.Vault.Put(r.Context(), by, r.PathValue("session"), id, class, vault.Size{Snapshot: size, Put: max(r.ContentLength, 0)}, &counted{body, a.Received})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, done)
}

// counted tells of what is read as it is read.
type counted struct {
	io.Reader
	tell func(int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.tell(n)
	return n, err
}

func (a *API) commit(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var lacking wire.Lacking
	for name, to := range map[string]*int64{"waiting": &lacking.Waiting, "carried": &lacking.Carried} {
		n, err := number(r, name)
		if err != nil {
			return err
		}
		*to = n
	}
	body, err := octets(w, r, 4+snapshot.MaxManifest+8+vault.MaxRefs+1)
	if err != nil {
		return err
	}
	done, err := a.Vault.Commit(r.Context(), by, r.PathValue("session"), lacking, body)
	if err != nil {
		return err
	}
	if err := devices.WarnOfQuota(r.Context(), a.DB, a.Keys, by.User); err != nil {
		a.Log.Error("telling of a quota failed", "user", string(by.User), "err", err)
	}
	return answer(w, http.StatusOK, done)
}

func (a *API) leave(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	if err := a.Vault.Leave(r.Context(), by); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// snapshots lists the device's own.
func (a *API) snapshots(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	out := wire.Snapshots{Snapshots: []wire.Snapshot{}}
	err := a.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := a.Vault.Snapshots(r.Context(), tx, by, vault.Filter{Device: by.Device})
		for _, s := range list {
			out.Snapshots = append(out.Snapshots, wire.Snapshot{
				Snapshot: s.Hash.Short(), Hash: s.Hash.String(), Seq: s.Seq, DeviceID: string(s.Device), Status: s.Status,
				StartedAt: s.StartedAt, CommittedAt: s.CommittedAt,
				Entries: s.Entries, Files: s.Files, Bytes: s.Bytes, Unreadable: s.Unreadable,
			})
		}
		return err
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, out)
}

func (a *API) openSnapshot(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	var in wire.Open
	if err := read(w, r, &in); err != nil {
		return err
	}
	hash, err := backup.ParseHash(r.PathValue("hash"))
	if err != nil {
		return errs.Of(errs.NoSuchSnapshot, "what", r.PathValue("hash"))
	}
	opening, err := a.Vault.OpeningFor(r.Context(), by, hash, in.RecipientKey)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, opening)
}

func (a *API) readObjects(w http.ResponseWriter, r *http.Request, by access.Caller) error {
	ids, err := readIDs(w, r, true)
	if err != nil {
		return err
	}
	if !a.reading.begin(by.User, maxReads) {
		return errs.New(errs.Unavailable, "read.busy")
	}
	defer a.reading.end(by.User)
	w.Header().Set("Content-Type", wire.MediaTypeOctets)
	out := &started{Writer: w}
	err = a.Vault.Read(r.Context(), by, ids, out)
	if err != nil && out.any {
		// What was sent looks whole up to here; only an aborted answer tells.
		if !errors.Is(err, r.Context().Err()) && r.Context().Err() == nil {
			a.Log.ErrorContext(r.Context(), "reading broke off", "request", by.RequestID, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	return err
}

// started knows whether anything was written.
type started struct {
	io.Writer
	any bool
}

func (s *started) Write(p []byte) (int, error) {
	s.any = true
	return s.Writer.Write(p)
}
