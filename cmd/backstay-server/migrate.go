package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/server/db"
)

func (p *program) migrateCommand() *cobra.Command {
	var to string
	cmd := p.command("migrate", "server.cli.migrate.", `backstay-server migrate --config /etc/backstay/server.yaml
backstay-server migrate --to postgres://backstay:PASSWORD@db.example.org/backstay`, func(cmd *cobra.Command, _ []string) error {
		c, err := p.configure(cmd)
		if err != nil {
			return err
		}
		address := c.settings.server.WithDefaults().DB
		if to != "" {
			return p.moveDatabase(cmd, address, to)
		}
		return p.migrate(cmd, address)
	})
	p.addConfigFlags(cmd, "data", "db")
	p.textFlag(cmd, &to, "to", "DSN", "server.flag.migrate.to")
	return cmd
}

func (p *program) migrate(cmd *cobra.Command, address string) error {
	d, err := db.Open(cmd.Context(), address)
	if err != nil {
		return err
	}
	defer d.Close()
	before, err := d.Version(cmd.Context())
	if err != nil {
		return err
	}
	if err := d.Migrate(cmd.Context()); err != nil {
		return err
	}
	if before == db.Target() {
		fmt.Fprintln(p.out, p.say.T("migrate.nothing", "version", before))
	} else {
		fmt.Fprintln(p.out, p.say.T("migrate.done", "from", before, "to", db.Target()))
	}
	return nil
}

// moveDatabase copies the database to another place and says what is left to do.
func (p *program) moveDatabase(cmd *cobra.Command, address, to string) error {
	from, err := db.Open(cmd.Context(), address)
	if err != nil {
		return err
	}
	defer from.Close()
	target, err := db.Open(cmd.Context(), to)
	if err != nil {
		return err
	}
	defer target.Close()
	var all int64
	err = from.Move(cmd.Context(), target, func(table string, rows int64) {
		all += rows
		fmt.Fprintf(p.out, "%-22s %9d\n", table, rows)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "\n%s\n", p.say.T("migrate.moved", "rows", all, "from", from.Kind(), "to", target.Kind()))
	return nil
}
