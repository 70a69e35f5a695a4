package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/server/tokens"
)

const deviceMapPath = Prefix + "device-map"

func (a *API) deviceMap() {
	op := func(id, method, path, summary string, failures ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"Device map"},
			Errors: append([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}, failures...)}
	}
	const one = deviceMapPath + "/{id}"
	operate(a, access.MapRead, op("list-device-map", http.MethodGet, deviceMapPath, "List the rows, the newest first"), a.listMap)
	operate(a, access.MapRead, op("get-device-map-row", http.MethodGet, one, "Get a row", http.StatusNotFound), a.mapRow)
	create := op("create-device-map-row", http.MethodPost, deviceMapPath, "Add a row", http.StatusNotFound, http.StatusConflict)
	create.DefaultStatus = http.StatusCreated
	operate(a, access.MapWrite, create, a.addMapRow)
	operate(a, access.MapWrite, op("replace-device-map-row", http.MethodPut, one, "Change a row", http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed), a.changeMapRow)
	operate(a, access.MapWrite, op("delete-device-map-row", http.MethodDelete, one, "Delete a row", http.StatusNotFound, http.StatusPreconditionFailed), a.deleteMapRow)
}

// MapValues are what a row says, under the names that the columns of a file have.
// What they may be, server/deploy says, as for a file.
type MapValues struct {
	Email         string `json:"email" doc:"Whose the computer is: the address or the username of a user of the organisation. Answers hold the username." example:"marie@example.org"`
	Hostname      string `json:"hostname,omitempty" doc:"The computer's host name, in place of device_id where nothing else is known. Such a device waits for approval." example:"lab-7"`
	DeviceID      string `json:"device_id,omitempty" doc:"What the computer is known by." example:"4c4c4544-0042-3510-8052-b9c04f564433"`
	IDType        string `json:"id_type,omitempty" doc:"What device_id is: uuid, serial-number or hostname." example:"uuid"`
	Username      string `json:"username,omitempty" doc:"The name of the user on the computer; empty: any." example:"marie"`
	OldDeviceName string `json:"old_device_name,omitempty" doc:"The device that the computer follows; empty: it is one more." example:"marie-old"`
	DataRestore   string `json:"data_restore,omitempty" doc:"What comes back from that device: DATA, SYSTEM, ALL or nothing." example:"DATA"`
	Expires       string `json:"expires,omitempty" doc:"The last day on which the row is good, in UTC; empty: without end." example:"2027-01-31"`
}

func (v MapValues) columns() map[string]string {
	return map[string]string{"email": v.Email, "hostname": v.Hostname, "device_id": v.DeviceID, "id_type": v.IDType, "username": v.Username,
		"old_device_name": v.OldDeviceName, "data_restore": v.DataRestore, "expires": v.Expires}
}

// MapEntry is a row of the map.
type MapEntry struct {
	ID int64 `json:"id"`
	MapValues
	CreatedBy string    `json:"created_by" doc:"The administrator or the token that added it."`
	CreatedAt time.Time `json:"created_at"`
}

func entryOf(m deploy.Mapping) MapEntry {
	v := m.Values()
	return MapEntry{ID: m.Number, CreatedBy: m.CreatedBy, CreatedAt: m.CreatedAt.UTC(), MapValues: MapValues{Email: v["email"], DeviceID: v["device_id"], IDType: v["id_type"],
		Username: v["username"], OldDeviceName: v["old_device_name"], DataRestore: v["data_restore"], Expires: v["expires"]}}
}

// TaggedEntry is a row and its version.
type TaggedEntry struct {
	ETag string `header:"ETag" doc:"The version of the row, for If-Match."`
	Body MapEntry
}

func tagged(m deploy.Mapping) (*TaggedEntry, error) {
	e := entryOf(m)
	etag, err := tag(e)
	return &TaggedEntry{etag, e}, err
}

// MapID names a row.
type MapID struct {
	ID int64 `path:"id" minimum:"1" doc:"The row's number."`
}

// IfMatch is the version that somebody saw who changes something.
type IfMatch struct {
	Seen string `header:"If-Match" doc:"The ETag that you saw: what has been changed since is left as it is, with 412."`
}

type listIn struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many rows at most."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before; none: from the newest on."`
}

type mapList struct {
	Body struct {
		Items      []MapEntry `json:"items" nullable:"false"`
		Total      int64      `json:"total" doc:"How many rows there are in all."`
		NextCursor string     `json:"next_cursor,omitempty" doc:"For the next page; none: this is the last."`
	}
}

func (a *API) listMap(ctx context.Context, by access.Caller, in *listIn) (*mapList, error) {
	before, err := int64(0), error(nil)
	if in.Cursor != "" {
		if before, err = strconv.ParseInt(in.Cursor, 10, 64); err != nil || before < 1 {
			return nil, errs.New(errs.Invalid, "request.cursor")
		}
	}
	out := &mapList{}
	out.Body.Items = []MapEntry{}
	err = a.DB.Read(ctx, func(tx *db.Tx) error {
		list, total, err := deploy.Mappings(ctx, tx, by, by.Org, before, in.Limit+1)
		for n, m := range list {
			if n == in.Limit {
				out.Body.NextCursor = strconv.FormatInt(list[n-1].Number, 10)
				break
			}
			out.Body.Items = append(out.Body.Items, entryOf(m))
		}
		out.Body.Total = total
		return err
	})
	return out, err
}

func (a *API) mapRow(ctx context.Context, by access.Caller, in *MapID) (out *TaggedEntry, err error) {
	err = a.DB.Read(ctx, func(tx *db.Tx) error {
		m, err := deploy.FindMapping(ctx, tx, by, in.ID)
		if err != nil {
			return err
		}
		out, err = tagged(m)
		return err
	})
	return out, err
}

type addMapRow struct {
	Key  string `header:"Idempotency-Key" maxLength:"255" doc:"A name for this request that you choose. Sent again within a day, it adds no second row and gets the same answer."`
	Body MapValues
}

type addedEntry struct {
	Location string `header:"Location" doc:"Where the row is."`
	ETag     string `header:"ETag" doc:"The version of the row, for If-Match."`
	Body     MapEntry
}

func (a *API) addMapRow(ctx context.Context, by access.Caller, in *addMapRow) (out *addedEntry, err error) {
	err = a.DB.Write(ctx, func(tx *db.Tx) error {
		if err := audit.See(by, access.ManageMap, by.Org, "", "device-map"); err != nil {
			return err
		}
		e, err := tokens.Once(ctx, tx, by, in.Key, in.Body, func() (MapEntry, error) {
			m, err := deploy.Map(ctx, tx, by, a.Keys, by.Org, 0, in.Body.columns())
			return entryOf(m), err
		})
		if err != nil {
			return err
		}
		etag, err := tag(e)
		out = &addedEntry{deviceMapPath + "/" + strconv.FormatInt(e.ID, 10), etag, e}
		return err
	})
	return out, err
}

type changeMapRow struct {
	MapID
	IfMatch
	Body MapValues
}

func (a *API) changeMapRow(ctx context.Context, by access.Caller, in *changeMapRow) (out *TaggedEntry, err error) {
	err = a.DB.Write(ctx, func(tx *db.Tx) error {
		if err := seenMapRow(ctx, tx, by, in.ID, in.Seen); err != nil {
			return err
		}
		m, err := deploy.Map(ctx, tx, by, a.Keys, by.Org, in.ID, in.Body.columns())
		if err != nil {
			return err
		}
		out, err = tagged(m)
		return err
	})
	return out, err
}

type deleteMapRow struct {
	MapID
	IfMatch
}

func (a *API) deleteMapRow(ctx context.Context, by access.Caller, in *deleteMapRow) (*struct{}, error) {
	return nil, a.DB.Write(ctx, func(tx *db.Tx) error {
		if err := seenMapRow(ctx, tx, by, in.ID, in.Seen); err != nil {
			return err
		}
		return deploy.Unmap(ctx, tx, by, in.ID)
	})
}

// seenMapRow refuses to change a row that the caller has not seen as it is.
func seenMapRow(ctx context.Context, tx *db.Tx, by access.Caller, id int64, ifMatch string) error {
	m, err := deploy.FindMapping(ctx, tx, by, id)
	if err != nil {
		return err
	}
	e, err := tagged(m)
	if err != nil {
		return err
	}
	return fresh(ifMatch, e.ETag)
}
