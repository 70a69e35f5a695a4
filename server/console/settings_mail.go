package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/audit"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/entry"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/settings"
	"github.com/backstay/backstay/web"
)

func (c *console) mailRoutes(mux *entry.Mux) {
	mux.HandleFunc("GET /admin/settings/mail", c.admin(c.mailServer))
	mux.HandleFunc("POST /admin/settings/mail", c.admin(c.saveMail))
	mux.HandleFunc("POST /admin/settings/mail/test", c.admin(c.testMail))
	mux.HandleFunc("GET /admin/settings/mail/queue", c.admin(c.mailQueue))
	mux.HandleFunc("POST /admin/settings/mail/queue/{mail}/send", c.admin(c.retryMail))
	mux.HandleFunc("POST /admin/settings/mail/queue/{mail}/drop", c.admin(c.dropMail))
}

func (c *console) mailServer(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showMail(w, r, v, http.StatusOK, nil, nil)
}

// showMail shows by which server mail goes out. The password is never shown.
func (c *console) showMail(w http.ResponseWriter, r *http.Request, v *visit, status int, wanted *settings.Mail, failure error) {
	page := mailPage{settingsFrame: c.settingsFrame(w, r, v, "settings.mail"), To: v.user.Email}
	if to := r.PostFormValue("to"); to != "" {
		page.To = to
	}
	err := audit.See(v.caller, access.ManageSettings, "", "", "settings")
	if err == nil && failure != nil && !wrongSetting(&page.Form, page, failure) {
		err = failure
	}
	if err == nil {
		err = c.DB.Read(r.Context(), func(tx *db.Tx) error {
			page.Locked = c.checkFresh(r.Context(), tx, v) != nil
			set, err := settings.Load(r.Context(), tx)
			if err != nil {
				return err
			}
			page.Set = set.Mail
			if page.Works, err = mail.Works(r.Context(), tx); err != nil {
				return err
			}
			page.Counts, err = mailCounts(r.Context(), tx, v, page.Frame, "none")
			return err
		})
	}
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	if wanted != nil {
		wanted.HasPassword = page.Set.HasPassword
		page.Set = *wanted
	}
	c.site.Render(w, r, status, "settings-mail", page)
}

func (c *console) saveMail(w http.ResponseWriter, r *http.Request, v *visit) {
	wanted := settings.Mail{Host: r.PostFormValue("host"), Security: r.PostFormValue("security"), Username: r.PostFormValue("username"),
		From: r.PostFormValue("from"), FromName: r.PostFormValue("from_name"), Unprotected: checked(r, "unprotected")}
	if strings.TrimSpace(r.PostFormValue("port")) != "" {
		wanted.Port = number(r, "port")
	}
	password := r.PostFormValue("password")
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error {
		if err := c.checkFresh(r.Context(), tx, v); err != nil {
			return err
		}
		err := settings.Change(r.Context(), tx, v.caller, func(s *settings.Settings) error {
			has := s.Mail.HasPassword
			s.Mail = wanted
			s.Mail.HasPassword = has
			return nil
		})
		if err != nil || password == "" && !checked(r, "forget") {
			return err
		}
		return settings.SetMailPassword(r.Context(), tx, v.caller, c.Keys, password)
	})
	if err != nil {
		c.showMail(w, r, v, web.Status(w, err), &wanted, err)
		return
	}
	c.site.Done(w, r, r.URL.Path, web.Flash{Key: "settings.mail.saved"})
}

// testMail sends a mail by the server that is set, and says what came of it.
func (c *console) testMail(w http.ResponseWriter, r *http.Request, v *visit) {
	ctx := r.Context()
	var set settings.Settings
	var password string
	to := strings.TrimSpace(r.PostFormValue("to"))
	err := audit.See(v.caller, access.ManageSettings, "", "", "settings")
	if err == nil {
		err = c.DB.Read(ctx, func(tx *db.Tx) (err error) {
			if set, err = settings.Load(ctx, tx); err != nil {
				return err
			}
			password, err = settings.MailPassword(ctx, tx, c.Keys)
			return err
		})
	}
	if err == nil && to == "" {
		err = errs.New(errs.Invalid, "settings.mail.test.to")
	}
	if err == nil {
		err = c.sendTest(ctx, v, set.Mail, password, to, string(web.LangOf(r)))
	}
	if err != nil {
		c.showMail(w, r, v, web.Status(w, err), nil, err)
		return
	}
	c.site.Done(w, r, "/admin/settings/mail", web.Flash{Key: "settings.mail.tested", Args: []any{"to", to}})
}

// sendTest sends the test and records what came of it.
func (c *console) sendTest(ctx context.Context, v *visit, set settings.Mail, password, to, language string) error {
	failure := mail.Test(ctx, set, password, to, language)
	err := c.DB.Write(ctx, func(tx *db.Tx) error { return mail.RecordTest(ctx, tx, v.caller, to, language, failure) })
	if failure != nil {
		return failure
	}
	return err
}

// mailStates are the states that the queue can be narrowed to.
var mailStates = []mail.State{mail.Waiting, mail.Failed, mail.Sent, mail.Dropped}

// mailCounts are the links to the parts of the queue.
func mailCounts(ctx context.Context, tx *db.Tx, v *visit, f web.Frame, chosen mail.State) ([]choice, error) {
	counts, err := mail.Counts(ctx, tx, v.caller)
	if err != nil {
		return nil, err
	}
	counts[mail.Waiting] += counts[mail.Sending]
	const at = "/admin/settings/mail/queue"
	all := choice{Text: f.Printer().T("mail.all"), Href: at, Active: chosen == ""}
	var list []choice
	for _, s := range mailStates {
		n := int64(counts[s])
		all.Count += n
		list = append(list, choice{Text: f.Printer().T(s.Label()), Href: at + "?state=" + url.QueryEscape(string(s)), Count: n, Active: s == chosen})
	}
	return slices.Insert(list, 0, all), nil
}

func (c *console) mailQueue(w http.ResponseWriter, r *http.Request, v *visit) {
	c.showQueue(w, r, v, http.StatusOK, nil)
}

// showQueue lists the mails and what became of them, the newest first.
func (c *console) showQueue(w http.ResponseWriter, r *http.Request, v *visit, status int, failure error) {
	page := queuePage{settingsFrame: c.settingsFrame(w, r, v, "settings.mail.queue")}
	if failure != nil && !refused(&page.Form, page.Printer(), failure, nil) {
		c.fail(w, r, v.caller, failure)
		return
	}
	filter := mail.Filter{Limit: listPart}
	if s := mail.State(r.FormValue("state")); slices.Contains(mailStates, s) {
		filter.State = s
	}
	filter.Before, _ = strconv.ParseInt(web.After(r), 10, 64)
	err := c.DB.Read(r.Context(), func(tx *db.Tx) error {
		list, err := mail.List(r.Context(), tx, v.caller, filter)
		if err != nil {
			return err
		}
		page.Mails = nil
		for _, m := range list {
			page.Mails = append(page.Mails, queuedOf(page.Frame, m))
		}
		after := ""
		if len(list) == listPart {
			after = strconv.FormatInt(list[len(list)-1].Number, 10)
		}
		page.Pages = web.PagesOf(r, len(list), 0, after)
		page.Counts, err = mailCounts(r.Context(), tx, v, page.Frame, filter.State)
		return err
	})
	if err != nil {
		c.fail(w, r, v.caller, err)
		return
	}
	c.site.Render(w, r, status, "settings-queue", page)
}

func queuedOf(f web.Frame, m mail.Row) queued {
	q := queued{Number: m.Number, What: f.Printer().T(m.Template.Label()), To: m.To, UserID: string(m.User),
		State: f.State("mail.state.", string(m.State)), Tries: int64(m.Tries), Created: m.CreatedAt,
		CanChange: m.State == mail.Waiting || m.State == mail.Failed}
	if m.Err != nil {
		q.Problem = f.Printer().Error(m.Err)
	}
	if m.State == mail.Waiting {
		q.Next = m.NextAt
	}
	return q
}

func (c *console) retryMail(w http.ResponseWriter, r *http.Request, v *visit) {
	c.settleMail(w, r, v, "mail.retried", mail.Retry)
}

func (c *console) dropMail(w http.ResponseWriter, r *http.Request, v *visit) {
	c.settleMail(w, r, v, "mail.dropped", mail.Drop)
}

func (c *console) settleMail(w http.ResponseWriter, r *http.Request, v *visit, done string, do func(context.Context, *db.Tx, access.Caller, int64) error) {
	n, _ := strconv.ParseInt(r.PathValue("mail"), 10, 64) // no mail has the number 0
	err := c.DB.Write(r.Context(), func(tx *db.Tx) error { return do(r.Context(), tx, v.caller, n) })
	if err != nil {
		c.showQueue(w, r, v, web.Status(w, err), err)
		return
	}
	c.site.Done(w, r, "/admin/settings/mail/queue", web.Flash{Key: done})
}
