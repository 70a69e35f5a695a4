package authattack_test

import (
	"testing"
	"time"
)

// step is how long an app shows a code.
const step = 30 * time.Second

var rows = []row{
	{"A-01", "ask for every route as nobody, and with half a session", []string{"8.1.1", "8.2.1", "8.3.1", "6.3.4", "13.4.1", "13.4.3", "13.4.5"}, func(t *testing.T) {
		t.Run("nobody", everyRouteIsGuarded)
		t.Run("half a session", halfASession)
	}},
	{"A-02", "what belongs to others: every role, every route with an id in it; fields that are not one's own", []string{"8.2.2", "8.2.3", "8.4.1", "15.3.1", "15.3.3"}, othersThings},
	{"A-03", "guessing passwords and codes: one account, one network, many at once", []string{"6.3.1", "2.4.1", "6.6.3"}, func(t *testing.T) {
		t.Run("one account", guessing)
		t.Run("one network", guessingFromOnePlace)
		t.Run("at once", guessingAtOnce)
	}},
	{"A-04", "finding out who has an account, by answers and by their time", []string{"6.3.4", "16.5.1"}, func(t *testing.T) { t.Run("answers", enumeration); t.Run("times", timing) }},
	{"A-05", "a host that the request made up", []string{"4.1.3", "3.7.2", "15.3.4"}, forgedHosts},
	{"A-06", "an address that the client made up", []string{"4.1.3", "15.3.4"}, spoofedAddresses},
	{"A-07", "forms sent by other sites, by every route that changes something", []string{"3.5.1", "3.5.2", "3.5.3", "4.4.2"}, otherSites},
	{"A-08", "sessions after log-in, log-out, disabling, a restart, and their time", []string{"7.2.1", "7.2.2", "7.2.3", "7.2.4", "7.3.1", "7.3.2", "7.4.1", "7.4.2", "7.4.5", "7.5.2", "14.3.1"}, sessionsEnd},
	{"A-09", "secrets that work once: many at once, again, too late, for something else", []string{"2.3.1", "2.3.3", "6.4.1", "6.4.3", "6.5.1", "6.5.5", "6.6.2", "6.6.3", "7.4.3"}, func(t *testing.T) {
		t.Run("links", links)
		t.Run("codes", codes)
		t.Run("registrations", registrations)
	}},
	{"A-10", "sessions that somebody else made for the victim", []string{"7.2.4", "7.6.2"}, plantedSessions},
	{"A-12", "tokens that were changed, of another kind, or are what is stored", []string{"7.2.3", "9.2.2", "14.2.1", "11.5.1"}, forgedTokens},
	{"A-14", "the address of a download in other hands, after the log-out, after it was forbidden", []string{"8.2.2", "2.3.1", "3.2.1", "5.4.1", "5.4.2"}, downloads},
	{"A-16", "SQL and other languages in every field, on both databases", []string{"1.2.1", "1.2.4", "1.3.7", "2.2.1", "2.2.2"}, injected},
	{"A-19", "what needs a fresh proof, with an old one or a weaker one", []string{"7.5.1", "7.5.2", "7.2.4"}, func(t *testing.T) { t.Run("old or weaker", stepUp); t.Run("after an enrolment", stepUpAfterEnrolment) }},
	{"A-20", "paths and methods written to mean two things", []string{"1.1.1", "5.3.2"}, paths},
	{"A-26", "roles that would be more than they are", []string{"8.2.1", "8.2.3", "15.3.3"}, escalation},
	{"A-28", "passwords under both policies; a password is what was typed", []string{"6.2.1", "6.2.2", "6.2.3", "6.2.4", "6.2.5", "6.2.6", "6.2.7", "6.2.8", "6.2.9", "6.2.10", "6.2.11", "6.2.12", "11.4.2"}, passwordRules},
	{"A-29", "the headers and cookies of every answer", []string{"3.2.1", "3.3.1", "3.3.2", "3.3.3", "3.3.4", "3.4.1", "3.4.2", "3.4.3", "3.4.4", "3.4.5", "3.4.6", "3.7.2", "4.1.1", "13.4.4", "14.3.2"}, headers},
	{"A-34", "what the log and the audit say, and what never stands in them", []string{"16.2.1", "16.2.2", "16.2.5", "16.3.1", "16.3.2", "16.3.3", "16.4.1"}, records},
	{"A-36", "a database that is gone; a server that is new", []string{"16.5.1", "16.5.2", "16.5.3", "6.3.2"}, func(t *testing.T) { t.Run("no database", failsClosed); t.Run("a new server", noDefaults) }},
}

func TestAttacks(t *testing.T) {
	for _, r := range rows {
		t.Run(r.id, func(t *testing.T) {
			t.Parallel()
			r.run(t)
		})
	}
}
