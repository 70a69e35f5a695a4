package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
)

var serialNumber = regexp.MustCompile(`[0-9A-Z]{5}(-[0-9A-Z]{5}){4}`)

// licensed runs commands on one data folder.
type licensed struct {
	t    *testing.T
	data string
}

func (l *licensed) run(want int, args ...string) (out, err string) {
	l.t.Helper()
	status, out, err := command(l.t, []string{"HOME=" + l.data}, append(args, "--data", l.data)...)
	if status != want {
		l.t.Fatalf("%v: status %d, want %d:\n%s%s", args, status, want, out, err)
	}
	return out, err
}

func TestLicences(t *testing.T) {
	t.Parallel()
	l := &licensed{t: t, data: t.TempDir()}
	if out, _ := l.run(0, "license", "list"); !strings.Contains(out, "no licence") {
		t.Errorf("without any: %s", out)
	}
	l.run(0, "org", "create", "Example")
	l.run(1, "org", "create", "EXAMPLE")
	out, _ := l.run(0, "license", "create", "--org", "Example", "--name", "Head office", "--seats", "25", "--days", "30")
	serial := serialNumber.FindString(out)
	if serial == "" {
		t.Fatalf("no serial number in %s", out)
	}
	l.run(0, "licence", "create", "--name", "Workshop", "--seats", "8", "--preserved", "2", "--valid-to", "2099-12-31")

	out, _ = l.run(0, "licence", "list", "--json")
	var list []licenceJSON
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	if got := list[0]; got.Serial != serial || got.Organisation != "Example" || got.Name != "Head office" || got.Seats != 25 || got.Preserved != 3 || got.State != "active" || got.Standing != "free" {
		t.Errorf("the first is %+v", got)
	}
	if end := time.Now().UTC().AddDate(0, 0, 30); list[0].ValidTo.Format(time.DateTime) != end.Format(time.DateOnly)+" 23:59:59" {
		t.Errorf("30 days from now it ends %s", list[0].ValidTo)
	}
	if got := list[1]; got.Preserved != 2 || got.Standing != "free" || got.ValidTo.Format(time.DateTime) != "2099-12-31 23:59:59" {
		t.Errorf("the second is %+v", got)
	}
	if out, _ = l.run(0, "license", "list"); !strings.Contains(out, serial) || !strings.Contains(out, "25 seats are free") && !strings.Contains(out, "Expires") {
		t.Errorf("listed:\n%s", out)
	}

	out, _ = l.run(0, "license", "show", strings.ToLower(strings.ReplaceAll(serial, "-", "")))
	for _, want := range []string{serial, "Head office", "Example", "0 of 25 taken", "0 of 3 taken"} {
		if !strings.Contains(out, want) {
			t.Errorf("shown without %q:\n%s", want, out)
		}
	}
	// A mistake in the third group.
	wrong := []byte(serial)
	if wrong[13] != '7' {
		wrong[13] = '7'
	} else {
		wrong[13] = '8'
	}
	if _, err := l.run(1, "license", "show", string(wrong)); !strings.Contains(err, "group 3") || !strings.Contains(err, "E1302") {
		t.Errorf("mistyped as %s: %s", wrong, err)
	}
	if _, err := l.run(1, "license", "show", "ABC"); !strings.Contains(err, "25 characters") {
		t.Errorf("cut short: %s", err)
	}

	out, _ = l.run(0, "license", "change", "--seats", "40", "--valid-to", "never", serial)
	if !strings.Contains(out, "0 of 40 taken") || !strings.Contains(out, "0 of 3 taken") || !strings.Contains(out, "without end") {
		t.Errorf("changed:\n%s", out)
	}
	if out, _ = l.run(0, "license", "revoke", serial); !strings.Contains(out, "Revoked") {
		t.Errorf("revoked:\n%s", out)
	}
	l.run(1, "license", "change", "--seats", "50", serial)
}

func TestLicencesRefuse(t *testing.T) {
	t.Parallel()
	l := &licensed{t: t, data: t.TempDir()}
	l.run(0, "org", "create", "Example")
	for _, c := range []struct {
		args string
		want string
	}{
		{"--seats 5", "--name"},
		{"--name x", "--seats"},
		{"--name x --seats five", "five"},
		{"--name x --seats -1", "-1"},
		{"--name x --seats 0", "from 1"},
		{"--name x --seats 5 --preserved some", "some"},
		{"--name x --seats 5 --valid-to tomorrow", "tomorrow"},
		{"--name x --seats 5 --valid-to 2027-02-30", "2027-02-30"},
		{"--name x --seats 5 --valid-to 2020-01-01", "1 Jan 2020"},
		{"--name x --seats 5 --days many", "many"},
		{"--name x --seats 5 --days 99999", "99999"},
		{"--name x --seats 5 --days 5 --valid-to 2099-12-31", "not both"},
		{"--name x --seats 5 --org Elsewhere", "organisation"},
	} {
		_, err := l.run(1, append([]string{"license", "create"}, strings.Fields(c.args)...)...)
		if !strings.Contains(err, c.want) {
			t.Errorf("license create %s: %q lacks %q", c.args, err, c.want)
		}
	}
	out, _ := l.run(0, "license", "create", "--name", "x", "--seats", "5")
	if _, err := l.run(1, "license", "change", serialNumber.FindString(out)); !strings.Contains(err, "--seats") {
		t.Errorf("changing nothing: %s", err)
	}
	l.run(2, "license", "show")
}

// A new user can be given a licence, which says the organisation as well.
func TestUserWithLicence(t *testing.T) {
	t.Parallel()
	l := &licensed{t: t, data: t.TempDir()}
	l.run(0, "org", "create", "First")
	l.run(0, "org", "create", "Second")
	out, _ := l.run(0, "license", "create", "--org", "Second", "--name", "Bureau", "--seats", "5")
	serial := serialNumber.FindString(out)
	if out, _ := l.run(0, "user", "create", "--licence", serial, "carol"); !strings.Contains(out, "Second") {
		t.Errorf("the user was made in another organisation: %s", out)
	}
	if _, err := l.run(1, "user", "create", "--licence", serial, "--org", "First", "dave"); !strings.Contains(err, "Second") {
		t.Errorf("another organisation's licence: %s", err)
	}
	l.run(1, "user", "create", "--licence", "x", "erin")
	if out, _ := l.run(0, "org", "list", "--json"); !strings.Contains(out, `"First"`) || !strings.Contains(out, `"Second"`) {
		t.Errorf("listed: %s", out)
	}
	if out, _ := l.run(0, "org", "rename", "FIRST", "Third"); out != "First is called Third now.\n" {
		t.Errorf("renamed: %q", out)
	}
	l.run(1, "org", "rename", "First", "Fourth")
	l.run(1, "org", "rename", "Third", "second")
	if out, _ := l.run(0, "org", "list"); out != "Second\nThird\n" {
		t.Errorf("listed: %q", out)
	}
}
