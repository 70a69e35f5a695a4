package accounts

import (
	"context"
	"io"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
)

// Row is a user of an import.
type Row struct {
	Line      int              `json:"line"` // in the file
	Username  string           `json:"username"`
	Email     string           `json:"email"`
	FirstName string           `json:"first_name"`
	LastName  string           `json:"last_name"`
	Profile   string           `json:"profile"` // the names, as they stand in the file
	Licence   string           `json:"licence"`
	Language  string           `json:"language"`
	SendMail  bool             `json:"send_mail"`
	ProfileID access.ProfileID `json:"profile_id,omitempty"`
	LicenceID string           `json:"licence_id,omitempty"`
	Status    RowStatus        `json:"status"`
	Reason    string           `json:"reason,omitempty"` // key of the message
	Args      map[string]any   `json:"args,omitempty"`
}

// RowStatus says what becomes of a row.
type RowStatus string

// What becomes of a row.
const (
	RowGood   RowStatus = "good"   // will be made
	RowExists RowStatus = "exists" // is there already, and stays as it is
	RowBad    RowStatus = "bad"    // has a reason
	RowMade   RowStatus = "made"
)

// Import is a file of users that was checked.
type Import struct {
	ID                      string
	Org                     orgs.ID
	State                   string // checked, done
	Rows                    []Row
	Good, Exists, Bad, Made int
	CreatedAt, ExpiresAt    time.Time
}

// ImportOptions are what a file cannot say itself.
type ImportOptions struct {
	Profiles map[string]access.ProfileID // by the folded name; "" is the default one's
	SendMail bool                        // for rows that do not say
}

// CheckImport reads a CSV file of users, says of each row whether it can be
// made, and keeps that for a day. Nothing is made yet.
func CheckImport(ctx context.Context, d *db.DB, by access.Caller, org orgs.ID, file io.Reader, opts ImportOptions) (Import, error) {
	return Import{}, errs.New(errs.Invalid, "user.unknown")
}

// FindImport returns a checked file.
func FindImport(ctx context.Context, tx *db.Tx, by access.Caller, id string) (Import, error) {
	return Import{}, errs.New(errs.NotFound, "user.unknown")
}

// RunImport makes the users of the good rows, some at a time, and returns the
// import as it stands then. Rows that cannot be made any more are bad.
func RunImport(ctx context.Context, d *db.DB, by access.Caller, ring *keys.Ring, h *passwords.Hasher, url, id string) (Import, error) {
	return Import{}, errs.New(errs.NotFound, "user.unknown")
}

// FailedRows writes the bad rows of an import as CSV, with a column that says
// what is wrong about each, for mending and importing again.
func FailedRows(w io.Writer, i Import, say func(key string, args map[string]any) string) error {
	return nil
}

// ExportCSV writes the accounts that a filter chooses as CSV, on all pages.
func ExportCSV(ctx context.Context, tx *db.Tx, by access.Caller, f Filter, w io.Writer) error {
	return nil
}
