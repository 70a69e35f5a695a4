package wire

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/backstay/backstay/errs"
)

// renewAhead is how long before its end a token is replaced, so that none
// expires between here and the server.
const renewAhead = 2 * time.Minute

// deviceToken returns a token that is good for now, fetching one if need be.
func (c *Client) deviceToken(ctx context.Context) (string, error) {
	if c.cfg.Sign == nil {
		return "", errs.Of(errs.NotActivated)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token.Token != "" && c.cfg.Now().Before(c.token.ExpiresAt.Add(-renewAhead)) {
		return c.token.Token, nil
	}
	token, err := c.prove(ctx, 0)
	if err != nil {
		return "", err
	}
	c.token = token
	return token.Token, nil
}

// Readmitted returns nil when the server, which stopped this device or its user,
// lets it work again, and otherwise, at the latest after wait, why it does not.
func (c *Client) Readmitted(ctx context.Context, wait time.Duration) error {
	token, err := c.prove(ctx, wait)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
	return nil
}

// prove gets a token. A device that is stopped is told so after wait.
func (c *Client) prove(ctx context.Context, wait time.Duration) (token Token, err error) {
	// One attempt: the call that needs the token repeats the whole.
	var challenge Challenge
	req := call{method: http.MethodPost, path: "challenge", in: ChallengeRequest{DeviceID: c.cfg.DeviceID}, once: true}
	if err := c.json(ctx, req, &challenge); err != nil {
		return token, c.repeatable(err)
	}
	signature, err := c.cfg.Sign(challenge.Challenge)
	if err != nil {
		return token, err
	}
	req = call{method: http.MethodPost, path: "token", once: true, think: wait,
		in: TokenRequest{DeviceID: c.cfg.DeviceID, Challenge: challenge.Challenge, Signature: signature}}
	if wait > 0 {
		req.path += "?wait=" + strconv.Itoa(int(min(wait, MaxWait*time.Second)/time.Second))
	}
	if err := c.json(ctx, req, &token); err != nil {
		return Token{}, c.repeatable(err)
	}
	return token, nil
}

// repeatable marks the failures of fetching a token that may pass, for the
// call that wanted it.
func (c *Client) repeatable(err error) error {
	switch e := errs.Find(err); {
	case e == nil:
		return err
	case e.Code == errs.CannotConnect, e.Kind == errs.Unavailable, e.Kind == errs.TooMany:
		return &failure{err: err, passes: true}
	}
	return err
}

func (c *Client) forgetToken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = Token{}
}

// User is the device's user, present with a password: it may open and read
// that user's snapshots. It is safe for use by several goroutines.
type User struct {
	c        *Client
	password string
	code     AskCode
	granted  string // in place of all these: what a RestoreGrant permits

	mu    sync.Mutex
	token Token
}

// Granted reads by a RestoreGrant's token what that permits.
func (c *Client) Granted(token string) *User {
	return &User{c: c, granted: token}
}

// BeginRestore permits this device to fetch what the computer had that it
// replaced, also when the user is gone.
func (u *User) BeginRestore(ctx context.Context) (RestoreGrant, error) {
	token, err := u.current(ctx)
	if err != nil {
		return RestoreGrant{}, err
	}
	return u.c.BeginRestore(ctx, token)
}

// AskCode asks the user for a code of their second factor. why is the server's
// refusal: that one is missing, or was wrong. An error of it ends the call.
type AskCode func(ctx context.Context, why error) (string, error)

// Login proves to the server that the device's user is present. The password
// stays in memory, to renew the token while a long restore runs. A user who has
// a second factor is asked for it by code; nil means that nobody is there to be
// asked.
func (c *Client) Login(ctx context.Context, password string, code AskCode) (*User, error) {
	u := &User{c: c, password: password, code: code}
	if _, err := u.current(ctx); err != nil {
		return nil, err
	}
	return u, nil
}

func (u *User) current(ctx context.Context) (string, error) {
	if u.granted != "" {
		return u.granted, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.token.Token != "" && u.c.cfg.Now().Before(u.token.ExpiresAt.Add(-renewAhead)) {
		return u.token.Token, nil
	}
	err := WithCode(ctx, u.code, func(code string) (err error) {
		in := UserTokenRequest{Password: u.password, SecondFactor: code}
		token, err := u.c.UserToken(ctx, in, u.token.Token)
		if err == nil {
			u.token = token
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return u.token.Token, nil
}

// WithCode makes a call that may need the code of a second factor: without one
// first, and then with those that ask returns, until one is right or the
// refusal is about something else.
func WithCode(ctx context.Context, ask AskCode, call func(code string) error) error {
	err := call("")
	for ask != nil && NeedsCode(err) {
		code, asked := ask(ctx, err)
		if asked != nil {
			return asked
		}
		err = call(code)
	}
	return err
}

func (u *User) forget(token string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.token.Token == token {
		u.token = Token{}
	}
}

// Open asks for a snapshot's root, sealed to recipientKey.
func (u *User) Open(ctx context.Context, hash string, recipientKey []byte) (Opening, error) {
	token, err := u.current(ctx)
	if err != nil {
		return Opening{}, err
	}
	return u.c.OpenSnapshot(ctx, token, hash, recipientKey)
}
