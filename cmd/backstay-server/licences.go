package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
	"github.com/backstay/backstay/server/settings"
)

// terms are what the command line says about a licence; empty is what was not
// said.
type terms struct {
	name, seats, preserved string
	validTo, days          string
}

func (p *program) licenceCommands() *cobra.Command {
	group := p.group("license", p.licenceCreate(), p.licenceList(), p.licenceShow(), p.licenceChange(), p.licenceRevoke())
	group.Aliases = []string{"licence"}
	return group
}

func (p *program) licenceCreate() *cobra.Command {
	t, org := &terms{}, ""
	cmd := p.command("create", "server.cli.license.create.", `backstay-server license create --org Example --name "Head office" --seats 25 --days 365
backstay-server license create --name Workshop --seats 8 --preserved 2 --valid-to 2027-12-31`,
		func(cmd *cobra.Command, _ []string) error {
			if t.name == "" || t.seats == "" {
				return errs.New(errs.Invalid, "licence.terms.missing")
			}
			return p.withServer(cmd, func(ctx context.Context, s *server.Server, by access.Caller) error {
				o, err := p.organisation(cmd, s, by, org, false)
				if err != nil {
					return err
				}
				var l orgs.Licence
				err = s.DB.Write(ctx, func(tx *db.Tx) error {
					if err := t.on(ctx, tx, &l); err != nil {
						return err
					}
					l, err = orgs.CreateLicence(ctx, tx, by, s.Keys, orgs.NewLicence{
						Org: o.ID, Name: l.Name, SeatsActive: l.SeatsActive, SeatsPreserved: l.SeatsPreserved, ValidTo: l.ValidTo})
					return err
				})
				if err != nil {
					return err
				}
				fmt.Fprintln(p.out, p.say.T("licence.created", "name", l.Name, "org", o.Name))
				fmt.Fprintln(p.out, p.say.T("licence.serial", "serial", orgs.FormatSerial(l.Serial)))
				return nil
			})
		})
	p.textFlag(cmd, &org, "org", "NAME", "server.flag.org")
	p.termFlags(cmd, t)
	p.addConfigFlags(cmd, "data", "db", "vault")
	return cmd
}

func (p *program) licenceChange() *cobra.Command {
	t := &terms{}
	cmd := p.command("change SERIAL", "server.cli.license.change.", `backstay-server license change --seats 40 X2R9C-GGT03-5XA9C-DTXP8-1919A
backstay-server license change --valid-to 2028-12-31 X2R9C-GGT03-5XA9C-DTXP8-1919A`,
		func(cmd *cobra.Command, args []string) error {
			return p.editLicence(cmd, args[0], "licence.changed", func(ctx context.Context, tx *db.Tx, s *server.Server, by access.Caller, l orgs.Licence) error {
				if *t == (terms{}) {
					return errs.New(errs.Invalid, "licence.terms.nothing")
				}
				// What the row says of one that was changed by hand is not to be signed.
				if l.State == orgs.LicenceInvalid && !t.whole() {
					return errs.New(errs.Invalid, "licence.terms.all").Because(l.Fault)
				}
				if err := t.on(ctx, tx, &l); err != nil {
					return err
				}
				_, err := orgs.ChangeLicence(ctx, tx, by, s.Keys, l)
				return err
			})
		})
	cmd.Args = p.arguments(1)
	p.termFlags(cmd, t)
	p.addConfigFlags(cmd, "data", "db", "vault")
	return cmd
}

func (p *program) licenceRevoke() *cobra.Command {
	cmd := p.command("revoke SERIAL", "server.cli.license.revoke.", `backstay-server license revoke X2R9C-GGT03-5XA9C-DTXP8-1919A`,
		func(cmd *cobra.Command, args []string) error {
			return p.editLicence(cmd, args[0], "licence.revoked.now", func(ctx context.Context, tx *db.Tx, s *server.Server, by access.Caller, l orgs.Licence) error {
				_, err := orgs.RevokeLicence(ctx, tx, by, s.Keys, l.ID)
				return err
			})
		})
	cmd.Args = p.arguments(1)
	p.addConfigFlags(cmd, "data", "db", "vault")
	return cmd
}

// editLicence changes the licence of a serial number and shows what it is then.
func (p *program) editLicence(cmd *cobra.Command, serial, done string, edit func(context.Context, *db.Tx, *server.Server, access.Caller, orgs.Licence) error) error {
	return p.withServer(cmd, func(ctx context.Context, s *server.Server, by access.Caller) error {
		var after listed
		err := s.DB.Write(ctx, func(tx *db.Tx) error {
			l, err := orgs.FindSerial(ctx, tx, s.Keys, serial)
			if err != nil {
				return err
			}
			if err := edit(ctx, tx, s, by, l); err != nil {
				return err
			}
			after, err = readLicence(ctx, tx, s, by, serial)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(p.out, p.say.T(done, "name", after.Name))
		return p.printLicence(after)
	})
}

func (p *program) licenceShow() *cobra.Command {
	asJSON := false
	cmd := p.command("show SERIAL", "server.cli.license.show.", `backstay-server license show X2R9C-GGT03-5XA9C-DTXP8-1919A`,
		func(cmd *cobra.Command, args []string) error {
			return p.withServer(cmd, func(ctx context.Context, s *server.Server, by access.Caller) error {
				var l listed
				err := s.DB.Read(ctx, func(tx *db.Tx) (err error) {
					l, err = readLicence(ctx, tx, s, by, args[0])
					return err
				})
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(l.json())
				}
				return p.printLicence(l)
			})
		})
	cmd.Args = p.arguments(1)
	cmd.Flags().BoolVar(&asJSON, "json", false, p.say.T("server.flag.json"))
	p.addConfigFlags(cmd, "data", "db", "vault")
	return cmd
}

func (p *program) licenceList() *cobra.Command {
	asJSON, org := false, ""
	cmd := p.command("list", "server.cli.license.list.", `backstay-server license list
backstay-server license list --org Example --json`,
		func(cmd *cobra.Command, _ []string) error {
			return p.withServer(cmd, func(ctx context.Context, s *server.Server, by access.Caller) error {
				var list []listed
				err := s.DB.Read(ctx, func(tx *db.Tx) (err error) {
					list, err = listLicences(ctx, tx, s, by, org)
					return err
				})
				if err != nil {
					return err
				}
				if asJSON {
					all := make([]licenceJSON, 0, len(list))
					for _, l := range list {
						all = append(all, l.json())
					}
					return p.printJSON(all)
				}
				return p.printLicences(list)
			})
		})
	p.textFlag(cmd, &org, "org", "NAME", "server.flag.only_org")
	cmd.Flags().BoolVar(&asJSON, "json", false, p.say.T("server.flag.json"))
	p.addConfigFlags(cmd, "data", "db", "vault")
	return cmd
}

func (p *program) termFlags(cmd *cobra.Command, t *terms) {
	p.textFlag(cmd, &t.name, "name", "TEXT", "server.flag.licence.name")
	p.textFlag(cmd, &t.seats, "seats", "N", "server.flag.licence.seats")
	p.textFlag(cmd, &t.preserved, "preserved", "N", "server.flag.licence.preserved")
	p.textFlag(cmd, &t.validTo, "valid-to", "DATE", "server.flag.licence.valid_to")
	p.textFlag(cmd, &t.days, "days", "N", "server.flag.licence.days")
}

// whole reports whether nothing is left to what a licence said before.
func (t *terms) whole() bool {
	return t.name != "" && t.seats != "" && t.preserved != "" && (t.validTo != "" || t.days != "")
}

// on gives a licence the terms that were said. A new one gets as many preserved
// seats as the settings give for its seats.
func (t *terms) on(ctx context.Context, tx *db.Tx, l *orgs.Licence) (err error) {
	if t.name != "" {
		l.Name = t.name
	}
	if t.seats != "" {
		if l.SeatsActive, err = number("--seats", t.seats); err != nil {
			return err
		}
	}
	switch {
	case t.preserved != "":
		if l.SeatsPreserved, err = number("--preserved", t.preserved); err != nil {
			return err
		}
	case l.ID == "":
		set, err := settings.Load(ctx, tx)
		if err != nil {
			return err
		}
		l.SeatsPreserved = orgs.PreservedShare(l.SeatsActive, set.Users.PreservedCapPercent)
	}
	return t.end(tx.Now(), l)
}

// never is how --valid-to says that a licence has no end.
const never = "never"

// end is the last second, in UTC, of the day that was said.
func (t *terms) end(now time.Time, l *orgs.Licence) error {
	var last time.Time
	switch {
	case t.validTo != "" && t.days != "":
		return errs.New(errs.Invalid, "licence.terms.both")
	case t.validTo == never:
		l.ValidTo = time.Time{}
		return nil
	case t.validTo != "":
		var err error
		if last, err = time.Parse(time.DateOnly, t.validTo); err != nil {
			return errs.New(errs.Invalid, "licence.terms.date", "value", t.validTo)
		}
	case t.days != "":
		n, err := number("--days", t.days)
		if err != nil || n > 36500 {
			return errs.New(errs.Invalid, "licence.terms.number", "flag", "--days", "value", t.days)
		}
		last = now.Truncate(24*time.Hour).AddDate(0, 0, n)
	default:
		return nil
	}
	l.ValidTo = last.AddDate(0, 0, 1).Add(-time.Second)
	return nil
}

func number(flag, value string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
	if err != nil {
		return 0, errs.New(errs.Invalid, "licence.terms.number", "flag", flag, "value", value)
	}
	return int(n), nil
}

// listed is a licence with the name of its organisation.
type listed struct {
	orgs.Standing
	OrgName string
}

func readLicence(ctx context.Context, tx *db.Tx, s *server.Server, by access.Caller, serial string) (listed, error) {
	l, err := orgs.FindSerial(ctx, tx, s.Keys, serial)
	if err != nil {
		return listed{}, err
	}
	o, err := orgs.Find(ctx, tx, l.Org)
	if err != nil {
		return listed{}, err
	}
	list, err := overview(ctx, tx, s, by, o)
	for _, found := range list {
		if found.ID == l.ID {
			return found, err
		}
	}
	return listed{}, err
}

func listLicences(ctx context.Context, tx *db.Tx, s *server.Server, by access.Caller, name string) ([]listed, error) {
	all, err := orgs.List(ctx, tx, by)
	if name != "" {
		var o orgs.Org
		o, err = orgs.FindByName(ctx, tx, name)
		all = []orgs.Org{o}
	}
	if err != nil {
		return nil, err
	}
	var list []listed
	for _, o := range all {
		of, err := overview(ctx, tx, s, by, o)
		if err != nil {
			return nil, err
		}
		list = append(list, of...)
	}
	return list, nil
}

func overview(ctx context.Context, tx *db.Tx, s *server.Server, by access.Caller, o orgs.Org) ([]listed, error) {
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return nil, err
	}
	stands, err := orgs.Overview(ctx, tx, by, s.Keys, o.ID, set.Licences)
	if err != nil {
		return nil, err
	}
	list := make([]listed, 0, len(stands))
	for _, l := range stands {
		list = append(list, listed{l, o.Name})
	}
	return list, nil
}

func (p *program) printLicences(list []listed) error {
	if len(list) == 0 {
		fmt.Fprintln(p.out, p.say.T("licence.none"))
		return nil
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join([]string{p.say.T("licence.column.serial"), p.say.T("licence.column.org"), p.say.T("licence.column.name"),
		p.say.T("licence.column.seats"), p.say.T("licence.column.preserved"), p.say.T("licence.column.stands")}, "\t"))
	for _, l := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d/%d\t%d/%d\t%s\n", orgs.FormatSerial(l.Serial), l.OrgName, l.Name,
			l.Taken, l.SeatsActive, l.Preserved, l.SeatsPreserved, p.say.T(l.Key, l.Args...))
	}
	return w.Flush()
}

func (p *program) printLicence(l listed) error {
	end := p.say.T("licence.without_end")
	if !l.ValidTo.IsZero() {
		end = p.say.Date(l.ValidTo)
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"licence.column.serial", orgs.FormatSerial(l.Serial)},
		{"licence.column.org", l.OrgName},
		{"licence.column.name", l.Name},
		{"licence.column.seats", p.say.T("licence.taken", "taken", l.Taken, "seats", l.SeatsActive)},
		{"licence.column.preserved", p.say.T("licence.taken", "taken", l.Preserved, "seats", l.SeatsPreserved)},
		{"licence.column.valid_to", end},
		{"licence.column.stands", p.say.T(l.Key, l.Args...)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", p.say.T(row[0]), row[1])
	}
	return w.Flush()
}

// licenceJSON is a licence for programs. Its fields are a promise.
type licenceJSON struct {
	Serial         string    `json:"serial"`
	Organisation   string    `json:"organisation"`
	Name           string    `json:"name"`
	State          string    `json:"state"`    // active, revoked, invalid
	Standing       string    `json:"standing"` // free, full, expiring, expired, over, stopped, revoked, invalid
	Seats          int       `json:"seats"`
	Taken          int       `json:"taken"`
	Preserved      int       `json:"preserved_seats"`
	TakenPreserved int       `json:"preserved_taken"`
	ValidTo        time.Time `json:"valid_to,omitzero"`
	OverSince      time.Time `json:"over_since,omitzero"`
	GraceEnd       time.Time `json:"grace_end,omitzero"`
}

func (l listed) json() licenceJSON {
	return licenceJSON{Serial: orgs.FormatSerial(l.Serial), Organisation: l.OrgName, Name: l.Name, State: string(l.State),
		Standing: strings.TrimPrefix(l.Key, "licence.stands."), Seats: l.SeatsActive, Taken: l.Taken, Preserved: l.SeatsPreserved, TakenPreserved: l.Preserved,
		ValidTo: l.ValidTo, OverSince: l.OverSince, GraceEnd: l.GraceEnd}
}

func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
