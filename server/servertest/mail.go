package servertest

import (
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/mail/mailtest"
	"github.com/backstay/backstay/server/settings"
)

// Mail starts a mail server and has this server, and those beside it, send by
// it from now on. It trusts no certificate of a test.
func (s *Server) Mail(options ...mailtest.Option) *mailtest.Server {
	s.T.Helper()
	m := mailtest.New(s.T, options...)
	err := s.DB.Write(s.T.Context(), func(tx *db.Tx) error {
		by := access.System("servertest")
		err := settings.Change(s.T.Context(), tx, by, func(set *settings.Settings) error {
			set.Mail = m.Settings
			return nil
		})
		if err != nil {
			return err
		}
		return settings.SetMailPassword(s.T.Context(), tx, by, s.Keys, m.Password)
	})
	if err != nil {
		s.T.Fatal(err)
	}
	return m
}
