package access

import "testing"

func all() []Action {
	return []Action{Login, Logout, Register, ManageOrgs, ManageLicences, ViewUsers, ManageUsers, ChangeAccount, ViewProfiles, ManageProfiles,
		ViewDevices, ManageDevices, Activate, Report, Backup, ReadOwnData, RestoreOthers, Download, SetPrivacy, ViewAudit, Deploy, ViewMap, ManageMap, ManageTokens, ManageSettings}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	user := Caller{Kind: UserKind, User: "u", Org: "o"}
	device := Caller{Kind: DeviceKind, User: "u", Org: "o", Device: "d"}
	server := Caller{Kind: AdminKind, User: "a", Org: "o", Role: ServerAdmin}
	org := Caller{Kind: AdminKind, User: "b", Org: "o", Role: OrgAdmin}
	viewer := Caller{Kind: AdminKind, User: "c", Org: "o", Role: Viewer}

	own := []Action{Logout, ChangeAccount, ViewDevices, ManageDevices, Activate, ReadOwnData, SetPrivacy}
	manage := []Action{ViewUsers, ManageUsers, ViewProfiles, ManageProfiles, ViewDevices, ManageDevices, Deploy, ViewMap, ManageMap, ManageTokens, RestoreOthers, ViewAudit}
	account := []Action{Logout, ChangeAccount}
	token := func(org OrgID, role Role, scopes Scopes) Caller {
		return Caller{Kind: TokenKind, User: "a", Org: org, Role: role, Token: "t", Scopes: scopes}
	}
	for _, c := range []struct {
		name  string
		c     Caller
		org   OrgID
		owner UserID
		want  []Action
	}{
		{"nobody", Caller{}, "o", "u", nil},
		{"nobody with an id", Caller{User: "u", Org: "o"}, "o", "u", nil},
		{"an unknown kind", Caller{Kind: "root", User: "u", Org: "o", Role: ServerAdmin}, "o", "u", nil},
		{"the system", System("jobs"), "", "", all()},
		{"a user, own", user, "o", "u", own},
		{"a user, a colleague's", user, "o", "v", nil},
		{"a user, same id elsewhere", user, "p", "u", nil},
		{"a user, the organisation's", user, "o", "", nil},
		// Missing identifiers must not match missing ones.
		{"an empty user", Caller{Kind: UserKind}, "", "", nil},
		{"a user without an organisation", Caller{Kind: UserKind, User: "u"}, "", "u", nil},
		{"a device, its owner's", device, "o", "u", []Action{Report, Backup}},
		{"a device, another's", device, "o", "v", nil},
		{"a device without an id", Caller{Kind: DeviceKind, User: "u", Org: "o"}, "o", "u", nil},
		{"a server administrator, anywhere", server, "p", "u", append([]Action{ManageOrgs, ManageLicences, ManageSettings}, manage...)},
		{"a server administrator, own account", server, "o", "a", append(append([]Action{ManageOrgs, ManageLicences, ManageSettings}, manage...), account...)},
		{"an administrator, own organisation", org, "o", "u", manage},
		{"an administrator, own account", org, "o", "b", append(append([]Action{}, manage...), account...)},
		{"an administrator, other organisation", org, "p", "u", nil},
		{"an administrator, the server's", org, "", "", nil},
		{"a viewer", viewer, "o", "u", []Action{ViewUsers, ViewProfiles, ViewDevices}},
		{"a viewer, other organisation", viewer, "p", "u", nil},
		{"an administrator without a role", Caller{Kind: AdminKind, User: "a", Org: "o"}, "o", "u", nil},
		{"a token", token("o", OrgAdmin, "device-map:read device-map:write"), "o", "", []Action{ViewMap, ManageMap}},
		{"a token that reads", token("o", OrgAdmin, MapRead), "o", "u", []Action{ViewMap}},
		{"a token that writes", token("o", OrgAdmin, MapWrite), "o", "u", []Action{ViewMap, ManageMap}},
		{"a token without a scope", token("o", ServerAdmin, ""), "o", "u", nil},
		{"a token with a scope that there is not", token("o", ServerAdmin, "device-map:read everything"), "o", "u", nil},
		{"a token of a server administrator, elsewhere", token("o", ServerAdmin, MapWrite), "p", "u", nil},
		{"a token of nowhere", token("", ServerAdmin, MapWrite), "", "", nil},
		{"a token whose maker became a viewer", token("o", Viewer, MapWrite), "o", "u", nil},
		{"a token whose maker has no role", token("o", "", MapWrite), "o", "u", nil},
		{"a token of nobody", Caller{Kind: TokenKind, Org: "o", Role: OrgAdmin, Token: "t", Scopes: MapWrite}, "o", "u", nil},
		{"a token without an id", Caller{Kind: TokenKind, User: "a", Org: "o", Role: OrgAdmin, Scopes: MapWrite}, "o", "u", nil},
		{"an administrator with scopes", Caller{Kind: AdminKind, User: "c", Org: "o", Role: Viewer, Scopes: MapWrite}, "o", "u", []Action{ViewUsers, ViewProfiles, ViewDevices}},
		{"a user with a role", Caller{Kind: UserKind, User: "v", Org: "o", Role: ServerAdmin}, "o", "u", nil},
	} {
		want := map[Action]bool{}
		for _, a := range c.want {
			want[a] = true
		}
		for _, a := range all() {
			if got := Allow(c.c, a, c.org, c.owner); got != want[a] {
				t.Errorf("%s: Allow(%s) = %v, want %v", c.name, a, got, want[a])
			}
		}
		if Allow(c.c, "no.such.action", c.org, c.owner) && c.c.Kind != SystemKind {
			t.Errorf("%s: an unknown action is allowed", c.name)
		}
	}
}

func TestCallerOf(t *testing.T) {
	t.Parallel()
	if got := CallerOf(t.Context()); got.Kind != Anonymous {
		t.Errorf("CallerOf(empty) = %v, want nobody", got)
	}
	want := Caller{Kind: UserKind, User: "u"}
	if got := CallerOf(WithCaller(t.Context(), want)); got != want {
		t.Errorf("CallerOf = %v, want %v", got, want)
	}
}

func TestSees(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		c     Caller
		org   OrgID
		owner UserID
		want  bool
	}{
		{Caller{}, "o", "u", false},
		{Caller{Kind: UserKind, User: "u", Org: "o"}, "o", "u", true},
		{Caller{Kind: UserKind, User: "u", Org: "o"}, "o", "v", false},
		{Caller{Kind: AdminKind, User: "a", Org: "o", Role: Viewer}, "o", "v", true},
		{Caller{Kind: AdminKind, User: "a", Org: "o", Role: OrgAdmin}, "p", "v", false},
		{Caller{Kind: AdminKind, User: "a", Org: "o", Role: ServerAdmin}, "p", "v", true},
		{Caller{Kind: TokenKind, User: "a", Org: "o", Role: ServerAdmin, Token: "t"}, "o", "v", true},
		{Caller{Kind: TokenKind, User: "a", Org: "o", Role: ServerAdmin, Token: "t"}, "p", "v", false},
	} {
		if got := Sees(c.c, c.org, c.owner); got != c.want {
			t.Errorf("Sees(%+v, %s, %s) = %v, want %v", c.c, c.org, c.owner, got, c.want)
		}
	}
}
