package wire

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/locale"
)

// What the calls about accounts say, before there is a device and after.

// How people may register by themselves.
const (
	RegistrationOff    = "off"
	RegistrationSerial = "serial" // with a licence's serial number
	RegistrationOpen   = "open"   // with an e-mail address of certain domains
)

// SignIn is what a server offers to somebody whom it does not know yet. It says
// nothing about any account.
type SignIn struct {
	Registration   string         `json:"registration"`
	SerialRequired bool           `json:"serial_required"`
	PasswordPolicy PasswordPolicy `json:"password_policy"`
}

// PasswordPolicy is what a user's password must be like. The server checks it;
// who asks for a password shows the rules.
type PasswordPolicy struct {
	Name  string         `json:"name"`
	Rules []PasswordRule `json:"rules"`
}

// PasswordRule is one line of the checklist: a message key and its values.
type PasswordRule struct {
	Key  string      `json:"key"`
	Data errs.Values `json:"data,omitempty"`
}

// Text is the rule in words.
func (r PasswordRule) Text(say *locale.Printer) string {
	return say.Error(&errs.Error{Key: r.Key, Args: r.Data})
}

// How people sign in.
const MethodPassword = "password"

// Discover asks how somebody signs in.
type Discover struct {
	Identifier string `json:"identifier"` // an e-mail address or username
}

// Discovered is how people of a realm sign in: what is meant for them, and what
// else they may choose. It is the realm's of the identifier's domain, and says
// nothing about any account.
type Discovered struct {
	SignInMethod
	Alternatives []SignInMethod `json:"alternatives"`
}

// SignInMethod is a way to sign in.
type SignInMethod struct {
	Method string `json:"method"`
	Issuer string `json:"issuer,omitempty"` // who else says who somebody is
}

// Register asks for an account. Username is the e-mail address when empty.
type Register struct {
	Email     string `json:"email"`
	Username  string `json:"username,omitempty"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Serial    string `json:"serial,omitempty"`
	Password  string `json:"password"`
	Language  string `json:"language,omitempty"` // of mails: en or fr
}

// Registering is a registration that waits for its code.
type Registering struct {
	Pending     string `json:"pending"`      // names this registration, and nobody else can
	ResendAfter int    `json:"resend_after"` // seconds until another code may be asked for
	CodeMinutes int    `json:"code_minutes"` // how long a code is good
}

// ResendCode asks for another code. The one before is worth nothing then.
type ResendCode struct {
	Pending string `json:"pending"`
}

// ConfirmRegistration makes the account, by the code that was mailed.
type ConfirmRegistration struct {
	Pending string `json:"pending"`
	Code    string `json:"code"`
}

// Registered is the new account, which can be logged in to.
type Registered struct {
	Username string `json:"username"`
}

// ForgotPassword asks for a link by mail to set a new password.
type ForgotPassword struct {
	Username string `json:"username"`
}

// ForgotUsername asks for a mail with the usernames of an address.
type ForgotUsername struct {
	Email string `json:"email"`
}

// ReplacePassword replaces a password that must be changed before anything
// else, after E1105: a temporary one, say.
type ReplacePassword struct {
	Username     string `json:"username"`
	Password     string `json:"password"`
	NewPassword  string `json:"new_password"`
	SecondFactor string `json:"second_factor,omitempty"`
}

// ChangePassword is the change of the password of a device's user by themselves.
type ChangePassword struct {
	Password     string `json:"password"`
	NewPassword  string `json:"new_password"`
	SecondFactor string `json:"second_factor,omitempty"`
}

// Version is a server's version in the parts that the log-in page shows.
type Version struct {
	Version int    `json:"version"`
	Release int    `json:"release"`
	Build   string `json:"build"`
}

// The second factors that can be typed.
const (
	FactorTOTP     = "totp"     // six digits of an app
	FactorRecovery = "recovery" // one of ten codes on paper
)

// NeedsCode reports whether err says that the password was right and the code
// of a second factor is missing or wrong. FactorMethods names what will do.
func NeedsCode(err error) bool {
	e := errs.Find(err)
	return e != nil && (e.Key == "login.second_factor" || e.Key == "factor.code.wrong")
}

// FactorMethods lists which second factors will do, of those that can be typed.
func FactorMethods(err error) []string { return names(err, "methods") }

// BrokenRules lists what is wrong with a password that was chosen, all of it at
// once, when that is what err says.
func BrokenRules(err error) []PasswordRule {
	e := errs.Find(err)
	if e == nil || e.Key != "user.password.policy" {
		return nil
	}
	list, _ := e.Args["rules"].([]any)
	var rules []PasswordRule
	for _, item := range list {
		rule, _ := item.(map[string]any)
		key, _ := rule["key"].(string)
		data, _ := rule["data"].(map[string]any)
		if key != "" {
			rules = append(rules, PasswordRule{Key: key, Data: data})
		}
	}
	return rules
}

// Choice lists the usernames among which one must be chosen, when err says that
// the password is right for several accounts of an address.
func Choice(err error) []string {
	if e := errs.Find(err); e == nil || e.Key != "login.choose" {
		return nil
	}
	return names(err, "usernames")
}

// names reads a list of words among a refusal's values.
func names(err error, arg string) []string {
	e := errs.Find(err)
	if e == nil {
		return nil
	}
	list, _ := e.Args[arg].([]any)
	var out []string
	for _, item := range list {
		if name, ok := item.(string); ok {
			out = append(out, name)
		}
	}
	return out
}

// once is a call that nobody is known for yet and that is not repeated: what it
// says is counted.
func (c *Client) once(ctx context.Context, path string, in, out any) error {
	return c.json(ctx, call{method: http.MethodPost, path: path, in: in, once: true}, out)
}

// SignIn asks what the server offers to somebody whom it does not know.
func (c *Client) SignIn(ctx context.Context) (SignIn, error) {
	var out SignIn
	return out, c.json(ctx, call{method: http.MethodGet, path: "sign-in"}, &out)
}

// Discover asks how somebody signs in, by the domain of their address alone.
// E1104 says how long to wait.
func (c *Client) Discover(ctx context.Context, identifier string) (Discovered, error) {
	var out Discovered
	return out, c.once(ctx, "discover", Discover{Identifier: identifier}, &out)
}

// Register begins a registration. A code is mailed; the answer is the same when
// the username is taken, of which the address is told.
func (c *Client) Register(ctx context.Context, in Register) (Registering, error) {
	var out Registering
	return out, c.once(ctx, "register", in, &out)
}

// ResendCode has another code mailed. E1104 says how long to wait.
func (c *Client) ResendCode(ctx context.Context, pending string) (Registering, error) {
	var out Registering
	return out, c.once(ctx, "register/resend", ResendCode{Pending: pending}, &out)
}

// ConfirmRegistration makes the account. E1108 says how many tries are left,
// E1107 that there is nothing to confirm any more.
func (c *Client) ConfirmRegistration(ctx context.Context, pending, code string) (Registered, error) {
	var out Registered
	return out, c.once(ctx, "register/confirm", ConfirmRegistration{Pending: pending, Code: code}, &out)
}

// ForgotPassword has a link mailed by which a new password can be set. The
// answer does not tell whether there is such an account.
func (c *Client) ForgotPassword(ctx context.Context, username string) error {
	return c.once(ctx, "password/forgot", ForgotPassword{Username: username}, nil)
}

// ForgotUsername has the usernames of an address mailed to it. The answer does
// not tell whether there are any.
func (c *Client) ForgotUsername(ctx context.Context, email string) error {
	return c.once(ctx, "username/forgot", ForgotUsername{Email: email}, nil)
}

// ReplacePassword sets a new password where the old one must be changed before
// anything else.
func (c *Client) ReplacePassword(ctx context.Context, in ReplacePassword) error {
	return c.once(ctx, "password/replace", in, nil)
}

// ChangePassword changes the password of the device's user.
func (c *Client) ChangePassword(ctx context.Context, in ChangePassword) error {
	return c.json(ctx, call{method: http.MethodPost, path: "password/change", auth: deviceToken, in: in, once: true}, nil)
}
