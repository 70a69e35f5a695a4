package authattack_test

import "strings"

// missing are rows, or parts of them, that have no test here yet, and why.
var missing = []struct{ id, why string }{
	{"A-11", "identities of other providers: there are none before the directory and single sign-on"},
	{"A-13", "tokens of other providers (OIDC, JWT): none is read before single sign-on"},
	{"A-17, A-18", "LDAP and SAML: come with the directory and single sign-on"},
	{"A-36 in part", "a provider that is down: comes with single sign-on"},
	{"A-09, A-12 in part", "tokens that deploy many computers: there are none yet"},
	{"A-26 in part", "groups and SCIM: come with the directory"},
	{"A-34 in part", "the chain of the audit's hashes: comes with the audit's own export; until then an operator with the database can change it"},
	{"A-36 in part", "a clock that jumps: what has ended stays so; that sessions which live wait for a sane clock comes with the server's own watch on it"},
}

// partly are requirements with a test, or none, that hold in part.
var partly = map[string]string{
	"3.4.1":  "for the server's own name: whether all names below it have TLS, only its operator knows",
	"6.2.5":  "under `modern`, which A-28 tests; `classic` asks for letters of both cases and a digit, and refuses six characters, as its users know it",
	"6.3.3":  "administrators must have a second factor (`server/signin` TestSecondFactorIsDemanded); of users an organisation demands it, or does not",
	"7.5.2":  "people see and end their sessions, which A-08 tests, without another proof: whoever sees a stranger's ends it at once",
	"6.4.4":  "an administrator who proves who they are takes a lost factor away; how they know whom they talk to is the organisation's rule",
	"12.2.2": "a certificate of the operator's is taken as it is; the server's own is pinned by devices, by its fingerprint",
	"16.4.2": "only administrators see the audit, which A-34 tests, and no page changes it; the database's owner can",
}

// reasons are why requirements have no test: each requirement has a test or
// stands here.
var reasons = []struct{ why, ids string }{
	{"they ask for a document, and no test reads one; what is written stands in `docs/admin`, `docs/protocol.md`, `docs/format.md`, `docs/architecture.md`, `docs/decisions`, SECURITY.md",
		"2.1.1 2.1.2 2.1.3 5.1.1 6.1.1 6.1.2 6.1.3 7.1.1 7.1.2 8.1.2 11.1.1 11.1.2 13.1.1 14.1.1 14.1.2 15.1.1 15.1.3 16.1.1"},
	{"there is none: LDAP, XPath, LaTeX, JNDI, memcache, XML, GraphQL, WebSockets, messages between windows, client certificates, telephones",
		"1.2.6 1.2.7 1.2.8 1.3.8 1.3.9 1.5.1 3.5.5 4.3.1 4.3.2 4.4.1 4.4.3 4.4.4 6.6.1 12.1.3"},
	{"there is none: markup, graphics, templates or programs of users, that would be run or shown; no command is run with what somebody typed",
		"1.2.5 1.3.1 1.3.2 1.3.3 1.3.4 1.3.5 1.3.10 5.3.1"},
	{"there is none yet: federated identity (see A-11, A-13)", "6.8.1 6.8.2 6.8.3 6.8.4 7.1.3 7.6.1"},
	{"of the language and its libraries: memory, integers, typed decoding, escaping by html/template, net/http's framing, no patterns made from input",
		"1.1.2 1.2.2 1.2.9 1.4.1 1.4.2 1.4.3 1.5.2 4.2.1"},
	{"by review of our few scripts: text is set as text, nothing is kept in the browser but cookies, no object is filled by names from outside, nothing old is used",
		"3.2.2 3.7.1 14.3.3 15.3.6"},
	{"by review: log-out is in the menu of every page; there are no hints and no questions", "6.4.2 7.4.4"},
	{"by review: recovery codes are kept as HMACs under the server's key, and every secret comes from crypto/rand", "6.5.2 6.5.3"},
	{"by design: one kind of challenge, one algorithm, one key and one server that asks and answers; what is signed names the store", "9.1.2 9.1.3 9.2.3 9.2.4"},
	{"by design: Go's own implementations, AES-256-GCM, SHA-256, HMAC, Ed25519, X-Wing; a version in each format by which they can be replaced; no key is made from a password",
		"11.2.1 11.2.2 11.2.3 11.4.1 11.4.3 11.4.4"},
	{"the operator's: which other systems there are, with which accounts they are reached, where secrets and logs go, and over which network",
		"12.3.3 12.3.4 13.2.1 13.2.2 13.2.3 13.2.4 13.2.5 13.3.1 13.3.2 16.2.3 16.4.3"},
	{"by design: programs ask by TLS or not at all, and nothing listens without it but for a proxy", "4.1.2"},
	{"backups are sealed: their contents are neither unpacked nor known to the server", "5.2.3 5.4.3"},
	{"no other party is asked by pages or by the server, but for the mail server that is set", "1.3.6 14.2.3 14.2.4 15.3.2"},
	{"of the build and its checks, outside of a running server: DEPENDENCIES.md and its test, the release", "15.1.2 15.2.1 15.2.3"},
	{"load is tested elsewhere, by figures and not by attacks", "15.2.2"},
	{"a field is read from the form, or from the address where a page is only shown: by review", "15.3.7"},
}

// reasonOf is why a requirement has no test, "" when nobody has said.
func reasonOf(id string) string {
	for _, r := range reasons {
		for _, named := range strings.Fields(r.ids) {
			if named == id {
				return r.why
			}
		}
	}
	chapter, _, _ := strings.Cut(id, ".")
	return notOurs[chapter]
}

// notOurs are whole chapters.
var notOurs = map[string]string{
	"10": "we are no party of OAuth yet",
	"17": "there is no WebRTC",
}
