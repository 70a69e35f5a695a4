package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/backstay/backstay/e2e/oracle"
)

// shownDifferences is how many are printed.
const shownDifferences = 20

// judge says how the comparison went.
func (q *quickstart) judge(t *trees) (same bool) {
	fmt.Fprintln(q.out)
	if n := len(t.unread); n > 0 {
		fmt.Fprintln(q.out, q.say.N("quickstart.unread", int64(n)))
	}
	if n := len(t.changed); n > 0 {
		fmt.Fprintln(q.out, q.say.N("quickstart.changed", int64(n)))
	}
	if t.notOwners > 0 {
		fmt.Fprintln(q.out, q.say.N("quickstart.owners", int64(t.notOwners)))
	}
	if len(t.wrong) > 0 {
		fmt.Fprintln(q.out, q.say.N("quickstart.different", int64(len(t.wrong))))
		fmt.Fprint(q.out, oracle.Report(t.wrong, shownDifferences))
		return false
	}
	fmt.Fprintln(q.out, q.say.N("quickstart.same", int64(len(t.before.Entries))))
	return true
}

// report prints what it took.
func (q *quickstart) report(t *trees, before, after int64) {
	files, size := t.before.Count()
	table := tabwriter.NewWriter(q.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(key, value string) { fmt.Fprintf(table, "  %s\t%s\t\n", q.say.T(key), value) }
	fmt.Fprintln(q.out)
	row("quickstart.files", q.say.Number(int64(files)))
	row("quickstart.bytes", q.say.Bytes(size))
	row("quickstart.stored", q.say.Bytes(after))
	row("quickstart.added", q.say.Bytes(after-before))
	for _, s := range q.steps {
		row(s.key, q.say.Duration(s.took))
	}
	table.Flush()
}

// invite says where to look around.
func (q *quickstart) invite() {
	c := q.credentials
	fmt.Fprintln(q.out)
	table := tabwriter.NewWriter(q.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", q.say.T("quickstart.portal"), c.Portal, c.User, c.UserPassword)
	fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", q.say.T("quickstart.console"), c.Console, c.Administrator, c.AdministratorPassword)
	table.Flush()
	fmt.Fprintln(q.out)
	fmt.Fprintln(q.out, q.say.T("quickstart.certificate", "fingerprint", c.CAFingerprint))
	fmt.Fprintln(q.out, q.say.T("quickstart.credentials", "file", credentialsFile(q.data)))
	fmt.Fprintln(q.out, q.say.T("quickstart.serving"))
}
