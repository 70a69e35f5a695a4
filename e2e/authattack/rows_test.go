package authattack_test

import (
	"runtime/debug"
	"testing"
	"time"
)

// step is how long an app shows a code.
const step = 30 * time.Second

// row is one kind of attack.
type row struct {
	id      string   // of the project's own list
	what    string   // in our words
	asvs    []string // requirements that it tests
	attacks []attack
}

// attack is what is tried. Its name is empty where a row has but one.
type attack struct {
	name  string
	run   func(testing.TB)
	alone bool // it measures: nothing else runs beside it
}

func only(run func(testing.TB)) []attack { return named("", run) }

// named is a list of attacks, given as names and functions in turn.
func named(list ...any) (attacks []attack) {
	for i := 0; i+1 < len(list); i += 2 {
		attacks = append(attacks, attack{name: list[i].(string), run: list[i+1].(func(testing.TB))})
	}
	return attacks
}

var rows = []row{
	{"A-01", "ask for every route as nobody, and with half a session", []string{"6.3.4", "8.1.1", "8.2.1", "8.3.1", "13.4.1", "13.4.2", "13.4.3", "13.4.5"},
		named("nobody", everyRouteIsGuarded, "half a session", halfASession)},
	{"A-02", "what belongs to others: every role, every route with an id in it, for pages, for devices and for programs; fields that are not one's own",
		[]string{"8.2.2", "8.2.3", "8.4.1", "15.3.1", "15.3.3"},
		append(named("pages", othersThings, "devices", othersDevices, "programs", othersPrograms, "fields", fields), attack{"time", apart, true})},
	{"A-03", "guessing passwords and codes: one account, one network, many at once", []string{"2.4.1", "6.3.1", "6.6.3"},
		named("one account", guessing, "one network", guessingFromOnePlace, "at once", guessingAtOnce)},
	{"A-04", "finding out who has an account, by answers and by their time", []string{"16.5.1"},
		append(named("answers", enumeration, "devices", enumerationByDevices), attack{"work", work, true}, attack{"times", timing, true})},
	{"A-05", "a host that the request made up", []string{"3.7.2", "4.1.3"}, only(forgedHosts)},
	{"A-06", "an address that the client made up", []string{"4.1.3", "15.3.4"}, only(spoofedAddresses)},
	{"A-07", "forms sent by other sites, by every route that changes something", []string{"3.5.1", "3.5.2", "3.5.3", "4.4.2"}, only(otherSites)},
	{"A-08", "sessions after log-in, log-out, disabling, deletion, a restart, and their time",
		[]string{"7.2.1", "7.2.2", "7.2.4", "7.3.1", "7.3.2", "7.4.1", "7.4.2", "7.4.5", "14.3.1"},
		named("ended", sessionsEnd, "accounts", sessionsOfAccounts, "time", sessionsAge)},
	{"A-09", "secrets that work once: many at once, again, too late, for something else, for what is gone",
		[]string{"2.3.1", "2.3.3", "6.4.1", "6.4.3", "6.5.1", "6.5.5", "6.6.2", "6.6.3", "7.4.3"},
		named("links", links, "codes", codes, "registrations", registrations, "addresses", addresses)},
	{"A-10", "sessions that somebody else made for the victim", []string{"7.2.4", "7.6.2"}, only(plantedSessions)},
	{"A-12", "tokens that were changed, of another kind, or are what is stored", []string{"7.2.3", "9.2.2", "11.5.1", "14.2.1"},
		named("sessions", forgedTokens, "devices", forgedDeviceTokens, "chance", chance)},
	{"A-14", "the address of a download in other hands, after the log-out, after it was forbidden", []string{"3.2.1", "5.4.1", "5.4.2", "8.2.2"}, only(downloads)},
	{"A-16", "SQL and other languages in every field, on both databases", []string{"1.2.1", "1.2.3", "1.2.4", "1.3.7", "2.2.1", "2.2.2", "15.3.5"},
		named("pages", injected, "forms", injectedForms, "lists", forgedPages, "devices", injectedMessages)},
	{"A-19", "what needs a fresh proof, with an old one or a weaker one", []string{"7.2.4", "7.5.1"},
		named("old", stepUp, "weaker", stepUpByLess, "after an enrolment", stepUpAfterEnrolment)},
	{"A-20", "paths and methods written to mean two things", []string{"1.1.1", "5.3.2"}, named("paths", paths, "methods", methods)},
	{"A-22", "a device that was revoked, or is locked, with all that it holds, at every server", []string{"7.4.2", "8.3.1"},
		named("revoked", revokedDevice, "locked", lockedDevice)},
	{"A-23", "a device takes back what it committed: every route with every method, and calls at random", []string{"8.2.1"}, only(appendOnly)},
	{"A-24", "deployment tokens: over, used up at once, elsewhere, revoked; to take over what there is; before somebody approved", []string{"2.3.2", "2.3.4", "6.4.1"},
		named("tokens", deployTokens, "the last use", lastUse, "taking over", tokenTakesOver)},
	{"A-25", "activations and their keys: of others, guessed, again, too late, for something else", []string{"6.5.4", "6.6.2", "6.6.3"},
		named("others", activationsOfOthers, "keys", activationKeys)},
	{"A-26", "roles that would be more than they are", []string{"8.2.1", "8.2.3", "15.3.3"}, only(escalation)},
	{"A-27", "one administrator who would be two", []string{"8.2.1", "8.2.3"}, only(oneWhoWouldBeTwo)},
	{"A-28", "passwords under both policies; a password is what was typed",
		[]string{"6.2.1", "6.2.2", "6.2.3", "6.2.4", "6.2.6", "6.2.7", "6.2.8", "6.2.9", "6.2.10", "6.2.11", "6.2.12", "11.4.2"}, only(passwordRules)},
	{"A-29", "the headers and cookies of every answer",
		[]string{"3.2.1", "3.3.1", "3.3.2", "3.3.3", "3.3.4", "3.4.1", "3.4.2", "3.4.3", "3.4.4", "3.4.5", "3.4.6", "3.7.2", "4.1.1", "13.4.4", "14.2.2", "14.3.2"}, only(headers)},
	{"A-34", "what the log and the audit say, and what never stands in them", []string{"16.2.1", "16.2.2", "16.2.5", "16.3.1", "16.3.2", "16.3.3", "16.4.1"}, only(records)},
	{"A-36", "a database that is gone, an audit that cannot be kept, keys that are gone, a clock that is set back; a server that is new", []string{"6.3.2", "16.5.1", "16.5.2", "16.5.3"},
		named("no database", failsClosed, "no audit", failsUnrecorded, "no keys", failsWithoutKeys, "a clock set back", failsWhenSetBack, "a new server", noDefaults)},
}

// each calls f with every attack and the name it goes by.
func each(f func(name string, r row, a attack)) {
	for _, r := range rows {
		for _, a := range r.attacks {
			name := r.id
			if a.name != "" {
				name += "/" + a.name
			}
			f(name, r, a)
		}
	}
}

// A hundred servers are made, one after the other, each with all its pages: it
// is looked for garbage less often than it would be.
func TestMain(m *testing.M) {
	debug.SetGCPercent(200)
	m.Run()
}

func TestAttacks(t *testing.T) {
	each(func(name string, _ row, a attack) {
		t.Run(name, func(t *testing.T) {
			if !a.alone {
				t.Parallel()
			}
			a.run(t)
		})
	})
}
