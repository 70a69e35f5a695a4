package signin

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/accounts"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/passwords"
	"github.com/backstay/backstay/server/settings"
)

// The limits of registering.
const (
	registrationsPerHost = 10 // within an hour, of whatever outcome: serial numbers are not to be guessed
	codesPerHour         = 5  // to one address
	codesPerDay          = 10
	betweenCodes         = time.Minute
)

// Registration is who asks for an account of their own.
type Registration struct {
	Email     string
	Username  string // from the client the address when empty
	FirstName string
	LastName  string
	Serial    string // of the licence, where the server asks for it
	Language  string

	// Password is given by the client, and confirmed by a code; without one
	// the mail has a link by which it is set.
	Password string
}

// Register makes an account for who asks: invited and with a link in a mail, or,
// with a password, pending until the code in the mail is typed. The answer is
// the same when the username is taken, and as fast, since the work is done after
// it; then the mail says so. pending names the registration for ResendCode and
// ConfirmRegistration. A wrong serial number is E1302, one without a free seat
// E1301.
func (g *Gate) Register(ctx context.Context, from access.Caller, r Registration) (pending string, err error) {
	n, err := r.account()
	if err != nil {
		return "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("registering: %w", err)
	}
	n.ID = accounts.ID(id.String())
	byCode := r.Password != ""
	var told error
	err = g.DB.Write(ctx, func(tx *db.Tx) error {
		told = g.mayRegister(ctx, tx, from, r, &n)
		if errs.Find(told) == nil {
			return told
		}
		return g.refusedRegistration(ctx, tx, from, n, told) // what was counted stays so
	})
	if err == nil {
		err = told
	}
	if err != nil {
		return "", err
	}
	if byCode {
		if n.PasswordHash, err = g.Hasher.Hash(ctx, r.Password); err != nil {
			return "", err
		}
		n.State = accounts.Pending
	}
	if err := g.later(ctx, from, func(ctx context.Context) error { return g.register(ctx, from, n) }); err != nil || !byCode {
		return "", err
	}
	return g.sign(registering{id, g.address(n.Email)}), nil
}

// refusedRegistration records that somebody was not let in: they may be guessing
// serial numbers. Who floods is recorded a few times an hour.
func (g *Gate) refusedRegistration(ctx context.Context, tx *db.Tx, from access.Caller, n accounts.New, told error) error {
	e := errs.Find(told)
	if e.Code == "" {
		return nil // something to mend in the form
	}
	wait, err := hit(ctx, tx, g.subject("noted registration", string(e.Code), host(from.IP)), time.Hour, noted)
	if err != nil || wait > 0 {
		return err
	}
	return audit.Record(ctx, tx, from, audit.Event{Action: access.Register, Org: n.Org, Object: "user",
		Outcome: audit.Refuse, Code: e.Code})
}

// account is the account that r asks for, as far as that can be said without
// looking whether there is one already.
func (r Registration) account() (accounts.New, error) {
	n := accounts.New{Kind: access.UserKind, Username: r.Username, Email: r.Email, FirstName: r.FirstName, LastName: r.LastName, Language: r.Language}
	named := n.Username != "" || r.Password == ""
	if !named {
		n.Username = n.Email
	}
	if strings.TrimSpace(n.Email) == "" {
		return n, errs.New(errs.Invalid, "user.email.invalid")
	}
	err := n.Tidy()
	if !named {
		n.Username = n.Email // as it is kept, its domain in small letters
	}
	return n, err
}

// mayRegister says whether the server takes a registration, and fills in where
// its account belongs.
func (g *Gate) mayRegister(ctx context.Context, tx *db.Tx, from access.Caller, r Registration, n *accounts.New) error {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	if s.Registration.Mode == settings.RegistrationOff {
		return errs.New(errs.Forbidden, "registration.off")
	}
	wait, err := hit(ctx, tx, g.subject("register", host(from.IP)), time.Hour, registrationsPerHost)
	if err != nil {
		return err
	}
	if wait > 0 {
		return tooMany(wait)
	}
	if s.Registration.Mode == settings.RegistrationSerial {
		err = g.bySerial(ctx, tx, r.Serial, n)
	} else {
		err = g.byDomain(ctx, tx, s.Registration, n)
	}
	if err != nil {
		return err
	}
	if r.Password != "" {
		policy, c, err := g.PolicyFor(ctx, tx, accounts.User{Kind: n.Kind, Org: n.Org, Username: n.Username, Email: n.Email})
		if err != nil {
			return err
		}
		if err := passwords.Refuse(policy, r.Password, c); err != nil {
			return err
		}
		if _, err := hit(ctx, tx, g.subject("resend", string(n.ID)), betweenCodes, 1); err != nil {
			return err
		}
	}
	return g.mayMail(ctx, tx, g.address(n.Email))
}

// bySerial binds a registration to the licence whose serial number was typed.
func (g *Gate) bySerial(ctx context.Context, tx *db.Tx, serial string, n *accounts.New) error {
	l, err := orgs.FindSerial(ctx, tx, g.Keys, serial)
	if err != nil {
		return err
	}
	taken, _, err := orgs.Seats(ctx, tx, l.ID)
	if err != nil {
		return err
	}
	n.Org, n.Licence = l.Org, string(l.ID)
	return l.MayRegister(taken, tx.Now())
}

// byDomain lets in who has an address in one of the domains of the settings.
func (g *Gate) byDomain(ctx context.Context, tx *db.Tx, s settings.Registration, n *accounts.New) error {
	domain := n.Email[strings.LastIndexByte(n.Email, '@')+1:]
	if !slices.Contains(s.Domains, domain) {
		return errs.New(errs.Invalid, "user.email.domain", "domain", domain)
	}
	licence, err := orgs.Choose(ctx, tx, g.Keys, s.Org, 0)
	n.Org, n.Licence = s.Org, string(licence)
	return err
}

// address names an e-mail address where the address itself must not be seen.
func (g *Gate) address(email string) [16]byte {
	return [16]byte(g.subject("address", orgs.Fold(email)))
}

// mayMail counts a mail to an address that may be nobody's account.
func (g *Gate) mayMail(ctx context.Context, tx *db.Tx, address [16]byte) error {
	day, hour := g.subject("codes a day", string(address[:])), g.subject("codes an hour", string(address[:]))
	c, err := count(ctx, tx, day)
	if err != nil {
		return err
	}
	if wait := c.within(tx.Now(), 24*time.Hour, codesPerDay); wait > 0 {
		return tooMany(wait)
	}
	wait, err := hit(ctx, tx, hour, time.Hour, codesPerHour)
	if err != nil {
		return err
	}
	if wait > 0 {
		return tooMany(wait)
	}
	_, err = hit(ctx, tx, day, 24*time.Hour, codesPerDay)
	return err
}

// register does what Register has answered to. An older registration of the
// same address that waits for its code gives way.
func (g *Gate) register(ctx context.Context, from access.Caller, n accounts.New) error {
	by := access.System("registration")
	by.IP, by.RequestID = from.IP, from.RequestID
	return g.DB.Write(ctx, func(tx *db.Tx) error {
		if err := accounts.DropPending(ctx, tx, by, n.Email); err != nil {
			return err
		}
		u, err := accounts.Create(ctx, tx, by, g.Keys, n)
		switch {
		case errs.KindOf(err) == errs.Conflict:
			return g.taken(ctx, tx, from, n, errs.Find(err).Key == "user.email.taken")
		case errs.Find(err) != nil:
			// The last seat went to somebody else a moment ago. Nobody waits
			// for an answer, and none would be safe to give.
			g.log().Warn("a registration could not be kept", "error", err)
			return nil
		case err != nil:
			return err
		}
		if n.State == accounts.Pending {
			return g.mailCode(ctx, tx, u)
		}
		s, err := settings.Load(ctx, tx)
		if err != nil {
			return err
		}
		return g.mailActivation(ctx, tx, u, s.SignIn)
	})
}

// taken tells an address that the username it wants is somebody's already, or,
// where an address has one account only, which one it has. For who typed it,
// everything goes on as if it were not: wrong codes are counted, and a right one
// there is none.
func (g *Gate) taken(ctx context.Context, tx *db.Tx, from access.Caller, n accounts.New, address bool) error {
	err := g.mailTaken(ctx, tx, from, n, address)
	if err != nil || n.State != accounts.Pending {
		return err
	}
	return g.decoy(ctx, tx, n.ID)
}

func (g *Gate) mailTaken(ctx context.Context, tx *db.Tx, from access.Caller, n accounts.New, address bool) error {
	if address {
		users, err := accounts.OfAddress(ctx, tx, n.Email)
		if err != nil || len(users) == 0 {
			return err
		}
		return g.mailUsernames(ctx, tx, from, users)
	}
	return mail.Queue(ctx, tx, g.Keys, mail.Mail{To: n.Email, Language: n.Language, Org: n.Org, Template: mail.RegistrationTaken,
		Values: map[string]string{"username": n.Username, "link": g.link(accounts.User{}, "forgot", "")}})
}

// decoy begins to count wrong codes of a registration that is none.
func (g *Gate) decoy(ctx context.Context, tx *db.Tx, id accounts.ID) error {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	c := counter{subject: g.subject("decoy", string(id)), failures: 0, first: tx.Now(), last: tx.Now(),
		expires: tx.Now().Add(time.Duration(s.SignIn.CodeMinutes) * time.Minute)}
	return c.store(ctx, tx)
}

func (g *Gate) mailCode(ctx context.Context, tx *db.Tx, u accounts.User) error {
	s, err := settings.Load(ctx, tx)
	if err != nil {
		return err
	}
	minutes := s.SignIn.CodeMinutes
	code, err := accounts.NewCode(ctx, tx, g.Keys, accounts.ForRegistration, u.ID, time.Duration(minutes)*time.Minute, nil)
	if err != nil {
		return err
	}
	return g.mail(ctx, tx, u, mail.RegistrationCode, "code", code, "minutes", strconv.Itoa(minutes))
}

// ResendCode mails another code, the one before is worth nothing then, and says
// how long to wait until the next may be asked for. Before that it is E1104.
func (g *Gate) ResendCode(ctx context.Context, from access.Caller, pending string) (wait time.Duration, err error) {
	r, err := g.verify(pending)
	if err != nil {
		return 0, err
	}
	// A registration is forgotten after a day, whether there was one or not.
	if seconds, nanos := r.id.Time().UnixTime(); g.DB.Now().Sub(time.Unix(seconds, nanos)) > accounts.PendingLife {
		return 0, errs.Of(errs.LinkExpired)
	}
	var told error
	err = g.DB.Write(ctx, func(tx *db.Tx) error {
		told = g.mayResend(ctx, tx, r)
		if errs.Find(told) == nil {
			return told
		}
		return nil
	})
	if err == nil {
		err = told
	}
	if err != nil {
		return 0, err
	}
	return betweenCodes, g.later(ctx, from, func(ctx context.Context) error { return g.resend(ctx, accounts.ID(r.id.String())) })
}

// mayResend keeps a minute between two codes.
func (g *Gate) mayResend(ctx context.Context, tx *db.Tx, r registering) error {
	wait, err := hit(ctx, tx, g.subject("resend", r.id.String()), betweenCodes, 1)
	if err != nil {
		return err
	}
	if wait > 0 {
		return tooMany(wait)
	}
	return g.mayMail(ctx, tx, r.address)
}

func (g *Gate) resend(ctx context.Context, id accounts.ID) error {
	return g.DB.Write(ctx, func(tx *db.Tx) error {
		u, err := accounts.Find(ctx, tx, id)
		switch {
		case errs.KindOf(err) == errs.NotFound:
			return g.decoy(ctx, tx, id)
		case err != nil:
			return err
		case u.State != accounts.Pending:
			return nil
		}
		return g.mailCode(ctx, tx, u)
	})
}

// ConfirmRegistration makes a pending account active by its code. A wrong one is
// E1108, one that is over E1107.
func (g *Gate) ConfirmRegistration(ctx context.Context, from access.Caller, pending, code string) (accounts.User, error) {
	r, err := g.verify(pending)
	if err != nil {
		return accounts.User{}, err
	}
	// The registration may still wait to be written down.
	if err := g.settle(ctx); err != nil {
		return accounts.User{}, err
	}
	id := accounts.ID(r.id.String())
	_, err = g.find(ctx, id)
	if errs.KindOf(err) == errs.NotFound {
		return accounts.User{}, g.wrongDecoy(ctx, id)
	}
	if err != nil {
		return accounts.User{}, err
	}
	by := access.System("registration")
	by.IP, by.RequestID = from.IP, from.RequestID
	var u accounts.User
	err = accounts.UseCode(ctx, g.DB, g.Keys, accounts.ForRegistration, id, code, func(tx *db.Tx, _ json.RawMessage) error {
		if err := accounts.SetState(ctx, tx, by, id, accounts.Active, ""); err != nil {
			return err
		}
		u, err = accounts.Find(ctx, tx, id)
		return err
	})
	return u, err
}

// wrongDecoy answers a code for a registration that is none: like a wrong one.
func (g *Gate) wrongDecoy(ctx context.Context, id accounts.ID) error {
	var told error
	err := g.DB.Write(ctx, func(tx *db.Tx) error {
		c, err := count(ctx, tx, g.subject("decoy", string(id)))
		if err != nil {
			return err
		}
		if c.first.IsZero() || c.failures >= accounts.CodeTries {
			told = errs.Of(errs.LinkExpired)
			return nil
		}
		c.failures++
		told = errs.Of(errs.WrongConfirmation, "n", accounts.CodeTries-c.failures)
		return c.store(ctx, tx)
	})
	if err != nil {
		return err
	}
	return told
}

// registering is what a signed name of a registration says.
type registering struct {
	id      uuid.UUID
	address [16]byte
}

const signSize = 32

// sign is the name of a registration as its page keeps it: nobody can make the
// one of another.
func (g *Gate) sign(r registering) string {
	b := append(r.id[:], r.address[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, g.Keys.MAC("registration", b)...))
}

func (g *Gate) verify(pending string) (r registering, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(pending)
	if err != nil || len(b) != len(r.id)+len(r.address)+signSize {
		return r, errs.Of(errs.LinkExpired)
	}
	signed, mac := b[:len(b)-signSize], b[len(b)-signSize:]
	if !hmac.Equal(mac, g.Keys.MAC("registration", signed)) {
		return r, errs.Of(errs.LinkExpired)
	}
	copy(r.id[:], signed)
	copy(r.address[:], signed[len(r.id):])
	return r, nil
}
