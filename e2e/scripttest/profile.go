//go:build linux

package scripttest

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/backstay/backstay/profile"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/profiles"
)

// profileCommand does what an administrator does to the default profile: profile
// JSON changes each setting that is named in it.
func profileCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: profile JSON")
	}
	ctx, by := context.Background(), access.System("e2e")
	d := openDB(ts)
	defer d.Close()
	ts.Check(d.Write(ctx, func(tx *db.Tx) error {
		org, err := orgs.FindByName(ctx, tx, "Example")
		if err != nil {
			return err
		}
		old, err := profiles.Default(ctx, tx, org.ID)
		if err != nil {
			return err
		}
		s, err := changed(old.Settings, args[0])
		if err == nil {
			_, err = profiles.Save(ctx, tx, by, old.ID, old.Revision, profiles.Changes{Settings: &s})
		}
		return err
	}))
}

// changed is s with the members of a JSON object in the place of its own.
func changed(s profile.Settings, text string) (profile.Settings, error) {
	var all, named map[string]json.RawMessage
	if err := json.Unmarshal(s.Encode(), &all); err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(text), &named); err != nil {
		return s, err
	}
	maps.Copy(all, named)
	merged, err := json.Marshal(all)
	if err != nil {
		return s, err
	}
	return profile.Decode(merged)
}
