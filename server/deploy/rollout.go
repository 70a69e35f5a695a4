package deploy

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/orgs"
)

// Stage is how far a computer has come that a token let in.
type Stage string

// The stages, each after the one before.
const (
	StageUsed      Stage = "used"      // it used the token
	StageEnrolled  Stage = "enrolled"  // it is a device, and waits for no administrator
	StageStarted   Stage = "started"   // its first backup has begun
	StageProtected Stage = "protected" // it has a complete backup
)

// Stages are all stages in their order.
func Stages() []Stage { return []Stage{StageUsed, StageEnrolled, StageStarted, StageProtected} }

// Enrolment is a use of a token, and what came of it.
type Enrolment struct {
	Token, TokenName      string
	Hostname, OS, IP      string
	How                   string
	UsedAt                time.Time
	Device, DeviceName    string // "" while it is no device
	Username              string
	OSVersion, Version    string // of the system, and the client
	State, Status         string // of the device, and of its last backup
	SeenAt                time.Time
	Stage                 Stage
	running, backedUp, ok int64
}

// Rollout are the uses of an organisation's tokens since a time, the latest
// first, of one token when it is named.
func Rollout(ctx context.Context, tx *db.Tx, by access.Caller, org orgs.ID, token string, since time.Time) ([]Enrolment, error) {
	if err := audit.See(by, access.Deploy, org, "", "deploy-rollout"); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, tx, scanEnrolment, `SELECT t.id, t.name, x.hostname, x.os, x.ip, x.how, x.used_at, COALESCE(d.id, ''), COALESCE(d.name, ''),
			COALESCE(u.username, ''), COALESCE(d.os_version, ''), COALESCE(d.client_version, ''), COALESCE(d.state, ''), COALESCE(d.last_status, ''),
			COALESCE(d.last_seen_at, 0), COALESCE(d.last_backup_at, 0), COALESCE(d.complete_at, 0),
			CASE WHEN COALESCE(d.status, '') = 'running' OR EXISTS (SELECT 1 FROM backup_sessions b WHERE b.device = d.id) THEN 1 ELSE 0 END
		FROM deploy_uses x JOIN deploy_tokens t ON t.id = x.token
		LEFT JOIN devices d ON d.org = t.org AND d.id = COALESCE(
			(SELECT min(y.id) FROM devices y WHERE y.token = t.id AND y.request_id = x.request_id),
			(SELECT min(i.device) FROM device_identities i WHERE i.token = t.id AND i.request_id = x.request_id),
			(SELECT min(a.device) FROM activations a WHERE a.credential = t.id AND a.request_id = x.request_id))
		LEFT JOIN users u ON u.id = d.user_id
		WHERE t.org = $1 AND ($2 = '' OR t.id = $2) AND x.used_at >= $3 ORDER BY x.number DESC LIMIT 20000`, org, token, db.Micros(since))
	if err != nil {
		return nil, fmt.Errorf("looking how far deployment is: %w", err)
	}
	return list, nil
}

func scanEnrolment(row db.Row) (e Enrolment, err error) {
	var used, seen int64
	err = row.Scan(&e.Token, &e.TokenName, &e.Hostname, &e.OS, &e.IP, &e.How, &used, &e.Device, &e.DeviceName, &e.Username, &e.OSVersion, &e.Version,
		&e.State, &e.Status, &seen, &e.backedUp, &e.ok, &e.running)
	e.UsedAt, e.SeenAt = db.Time(used), db.Time(seen)
	switch {
	case e.Device == "" || e.State == string(devices.Waiting):
		e.Stage = StageUsed
	case e.ok > 0 || e.Status == "complete":
		e.Stage = StageProtected
	case e.backedUp > 0 || e.running > 0:
		e.Stage = StageStarted
	default:
		e.Stage = StageEnrolled
	}
	return e, err
}

// Laggards writes those that are not protected yet as CSV. Who calls it records
// that the list was taken.
func Laggards(w io.Writer, list []Enrolment) error {
	columns := []string{"hostname", "os", "os_version", "client_version", "device", "user", "token", "stage", "state", "used_at", "last_seen", "address"}
	return accounts.WriteTable(w, columns, func(write func(...string) error) error {
		for _, e := range list {
			if e.Stage == StageProtected {
				continue
			}
			seen := ""
			if !e.SeenAt.IsZero() {
				seen = e.SeenAt.UTC().Format(time.RFC3339)
			}
			err := write(e.Hostname, e.OS, e.OSVersion, e.Version, e.DeviceName, e.Username, e.TokenName, string(e.Stage), e.State,
				e.UsedAt.UTC().Format(time.RFC3339), seen, e.IP)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
