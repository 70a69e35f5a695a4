package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/orgs"
)

func (p *program) orgCreate() *cobra.Command {
	cmd := p.command("create NAME", "server.cli.org.create.", `backstay-server org create Example`,
		func(cmd *cobra.Command, args []string) error {
			return p.withServer(cmd, func(ctx context.Context, s *server.Server, by access.Caller) error {
				o, made, err := s.EnsureOrg(ctx, by, args[0])
				if err != nil {
					return err
				}
				if !made {
					return errs.New(errs.Conflict, "org.name.taken", "name", o.Name)
				}
				fmt.Fprintln(p.out, p.say.T("org.created", "name", o.Name))
				return nil
			})
		})
	cmd.Args = p.arguments(1)
	p.addConfigFlags(cmd, "data", "db", "vault")
	return cmd
}

func (p *program) orgRename() *cobra.Command {
	cmd := p.command("rename NAME NEW-NAME", "server.cli.org.rename.", `backstay-server org rename Example "Example Ltd"`,
		func(cmd *cobra.Command, args []string) error {
			return p.withServer(cmd, func(ctx context.Context, s *server.Server, by access.Caller) error {
				var o orgs.Org
				err := s.DB.Write(ctx, func(tx *db.Tx) (err error) {
					if o, err = orgs.FindByName(ctx, tx, args[0]); err == nil {
						err = orgs.Rename(ctx, tx, by, o.ID, args[1])
					}
					return err
				})
				if err != nil {
					return err
				}
				fmt.Fprintln(p.out, p.say.T("org.renamed", "old", o.Name, "name", args[1]))
				return nil
			})
		})
	cmd.Args = p.arguments(2)
	p.addConfigFlags(cmd, "data", "db", "vault")
	return cmd
}

func (p *program) orgList() *cobra.Command {
	asJSON := false
	cmd := p.command("list", "server.cli.org.list.", `backstay-server org list
backstay-server org list --json`,
		func(cmd *cobra.Command, _ []string) error {
			return p.withServer(cmd, func(ctx context.Context, s *server.Server, by access.Caller) error {
				var list []orgs.Org
				err := s.DB.Read(ctx, func(tx *db.Tx) (err error) {
					list, err = orgs.List(ctx, tx, by)
					return err
				})
				if err != nil {
					return err
				}
				if asJSON {
					all := make([]orgJSON, 0, len(list))
					for _, o := range list {
						all = append(all, orgJSON{ID: string(o.ID), Name: o.Name})
					}
					return p.printJSON(all)
				}
				for _, o := range list {
					fmt.Fprintln(p.out, o.Name)
				}
				return nil
			})
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, p.say.T("server.flag.json"))
	p.addConfigFlags(cmd, "data", "db", "vault")
	return cmd
}

// orgJSON is an organisation for programs. Its fields are a promise.
type orgJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// withServer does something behind the server's back: with the rights of
// whoever can read its keys.
func (p *program) withServer(cmd *cobra.Command, do func(ctx context.Context, s *server.Server, by access.Caller) error) error {
	c, err := p.configure(cmd)
	if err != nil {
		return err
	}
	cfg := c.settings.server
	cfg.Hasher = p.hasher
	cfg.Log = slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: max(c.settings.logLevel, slog.LevelWarn)}))
	s, err := server.New(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(cmd.Context(), s, access.System("backstay-server "+cmd.Parent().Name()+" "+cmd.Name()))
}
