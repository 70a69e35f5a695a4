package mail

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/keys"
	"github.com/backstay/backstay/server/settings"
)

// Sender delivers what is queued. Several servers may do so on one database:
// each mail is claimed by one of them before it is sent. A mail can arrive
// twice only when a server dies, or loses its database, between handing it over
// and noting that; both copies have the same Message-ID.
type Sender struct {
	DB    *db.DB
	Keys  *keys.Ring
	Log   *slog.Logger
	Name  string         // of the server, as people know it
	URL   func() string  // its public address
	Roots *x509.CertPool // by which the mail server's certificate is checked; nil: the system's
	Every time.Duration  // how soon a mail is seen that another transaction queued; 0: a second
}

const (
	atOnce    = 4 // mails that are on their way at the same time
	lookEvery = time.Second
	lookAgain = 15 * time.Second // when looking failed
	claimedBy = 10 * time.Minute // a claim older than this was left by a server that died
	lastWords = 5 * time.Second  // for mails under way when the server stops
	noteTime  = 10 * time.Second
)

// waits are the times between a mail's tries; the last one is repeated until
// two days are over.
var waits = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// mostTries makes two days of them.
const mostTries = 51

// after is the wait after a number of tries, ok false when that was the last.
func after(tries int) (wait time.Duration, ok bool) {
	if tries >= mostTries {
		return 0, false
	}
	return waits[min(max(tries, 1), len(waits))-1], true
}

// Run delivers until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, atOnce)
	busy := 0
	for {
		wait := cmp.Or(s.Every, lookEvery)
		list, err := s.claim(ctx, atOnce-busy)
		if err != nil && ctx.Err() == nil {
			s.Log.Error("looking for mail to send failed", "error", err)
			wait = lookAgain
		}
		for _, c := range list {
			busy++
			running.Go(func() {
				s.deliver(ctx, c)
				free <- struct{}{}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-free:
			busy--
		case <-time.After(wait):
		}
	}
}

// claimed is a mail that this server has in hand.
type claimed struct {
	Row
	body  []byte
	at    int64
	relay relay
}

const (
	due = `(state = 'waiting' AND next_at <= $1 OR state = 'sending' AND claimed_at <= $2)`

	// New mails first: somebody waits for them, and those that failed before may
	// be many and fail again.
	findDue = "SELECT number FROM outbox WHERE " + due + " ORDER BY tries, next_at, number LIMIT $3"
	takeDue = "UPDATE outbox SET state = 'sending', claimed_at = $1, tries = tries + 1 WHERE number = $3 AND " + due
)

// claim takes up to n mails that are due. It looks before it writes: most of
// the time there is nothing to do, and writers wait for each other.
func (s *Sender) claim(ctx context.Context, n int) (list []claimed, err error) {
	if n <= 0 {
		return nil, nil
	}
	some := false
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		numbers, err := dueNow(ctx, tx, 1)
		if err != nil || len(numbers) == 0 {
			return err
		}
		set, err := settings.Load(ctx, tx)
		some = set.Mail.Configured()
		return err
	})
	if err != nil || !some {
		return nil, err
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		list = nil
		r, err := s.relay(ctx, tx)
		if err != nil {
			return err
		}
		numbers, err := dueNow(ctx, tx, n)
		if err != nil {
			return err
		}
		for _, number := range numbers {
			c, ok, err := take(ctx, tx, number)
			if err != nil {
				return err
			}
			if ok {
				c.relay = r
				list = append(list, c)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (s *Sender) relay(ctx context.Context, tx *db.Tx) (relay, error) {
	set, err := settings.Load(ctx, tx)
	if err != nil {
		return relay{}, err
	}
	password, err := settings.MailPassword(ctx, tx, s.Keys)
	return relay{Mail: set.Mail, password: password, roots: s.Roots}, err
}

// stale is when a claim was made that nobody holds any more.
func stale(tx *db.Tx) int64 { return db.Micros(tx.Now().Add(-claimedBy)) }

func dueNow(ctx context.Context, tx *db.Tx, n int) ([]int64, error) {
	numbers, err := db.All(ctx, tx, db.Column[int64], findDue, db.Micros(tx.Now()), stale(tx), n)
	if err != nil {
		return nil, fmt.Errorf("looking for mail: %w", err)
	}
	return numbers, nil
}

// take claims one mail, if it is still to be had.
func take(ctx context.Context, tx *db.Tx, number int64) (c claimed, ok bool, err error) {
	c.at = db.Micros(tx.Now())
	changed, err := tx.Changed(ctx, takeDue, c.at, stale(tx), number)
	if err != nil || changed == 0 {
		return c, false, err
	}
	if c.Row, err = scan(tx.QueryRow(ctx, "SELECT "+columns+" FROM outbox WHERE number = $1", number)); err != nil {
		return c, false, fmt.Errorf("reading mail %d: %w", number, err)
	}
	if err = tx.QueryRow(ctx, "SELECT body FROM outbox WHERE number = $1", number).Scan(&c.body); err != nil {
		return c, false, fmt.Errorf("reading mail %d: %w", number, err)
	}
	return c, true, nil
}

// deliver sends one mail and notes what became of it.
func (s *Sender) deliver(stopping context.Context, c claimed) {
	why := s.finish(stopping, c)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stopping), noteTime)
	defer cancel()
	if err := s.DB.Write(ctx, func(tx *db.Tx) error { return settle(ctx, tx, c, why) }); err != nil {
		s.Log.Error("noting what became of a mail failed", "mail", c.Number, "error", err)
		return
	}
	if why != nil {
		s.Log.Warn("a mail could not be sent", "mail", c.Number, "template", c.Template, "try", c.Tries, "error", why.Error)
	}
}

// finish sends a mail though the server stops meanwhile, but not for long.
func (s *Sender) finish(stopping context.Context, c claimed) *refusal {
	ctx, cancel := context.WithCancel(context.WithoutCancel(stopping))
	defer cancel()
	defer context.AfterFunc(stopping, func() { time.AfterFunc(lastWords, cancel) })()
	return s.send(ctx, c)
}

func (s *Sender) send(ctx context.Context, c claimed) *refusal {
	given, err := s.open(c.body)
	if err != nil {
		s.Log.Error("a mail cannot be read", "mail", c.Number, "error", err)
		return &refusal{errs.New(errs.Internal, "mail.error.unreadable"), true}
	}
	l := letter{
		Mail: Mail{To: c.To, Language: c.Language, Template: c.Template, Values: given},
		id:   fmt.Sprintf("%d.%x", c.Number, db.Micros(c.CreatedAt)), at: s.DB.Now(),
		server: s.Name, url: s.URL(),
	}
	return l.send(ctx, c.relay)
}

func (s *Sender) open(sealed []byte) (given map[string]string, err error) {
	body, err := s.Keys.Unseal(sealing, sealed)
	if err != nil {
		return nil, err
	}
	return given, json.Unmarshal(body, &given)
}

// settle writes down what became of a mail, unless another server has claimed
// it since.
func settle(ctx context.Context, tx *db.Tx, c claimed, why *refusal) (err error) {
	const mine = " WHERE number = $1 AND state = 'sending' AND claimed_at = $2"
	now := db.Micros(tx.Now())
	if why == nil {
		_, err = tx.Exec(ctx, "UPDATE outbox SET state = 'sent', body = NULL, error = '', sent_at = $3"+mine, c.Number, c.at, now)
		return err
	}
	wait, again := after(c.Tries)
	if why.lasting || !again {
		_, err = tx.Exec(ctx, "UPDATE outbox SET state = 'failed', error = $3"+mine, c.Number, c.at, problem(why.Error))
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE outbox SET state = 'waiting', error = $3, next_at = $4"+mine,
		c.Number, c.at, problem(why.Error), now+wait.Microseconds())
	return err
}
